package security

import (
	"fmt"
	"strings"
)

// oversizedAttributes: an attribute of more than 64 KiB overflowed the length
// in the runtime's message to its child, and the rest of it was read as other
// attributes, such as which namespaces to join.
func oversizedAttributes(l *lab) {
	for _, size := range []int{1<<16 - 1, 1 << 16, 1<<16 + 1, 1<<17 - 1, 3 << 16} {
		b := l.bundle(fmt.Sprintf("b%d", size), "env", "LONG")
		b.spec.Process.Env = append(b.spec.Process.Env, "LONG="+strings.Repeat("l", min(size, 1<<17-10))) // MAX_ARG_STRLEN
		b.spec.Annotations = map[string]string{"long": strings.Repeat("a", size)}
		want := strings.Repeat("l", min(size, 1<<17-10))
		if out := b.mustRun(); strings.TrimSpace(out) != want {
			l.Errorf("of %d bytes in the environment %d arrived", len(want), len(strings.TrimSpace(out)))
		}
		// Paths of namespaces and of mounts: refused, by their own names.
		b = l.bundle(fmt.Sprintf("p%d", size), "say", "ran").bind("/"+strings.Repeat("s/", size/2), "/tmp")
		b.mustRefuse("a long source", "mounts[")
	}
}
