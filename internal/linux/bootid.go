package linux

import (
	"strings"
	"sync"
)

// BootID returns the kernel's random id of this boot, a UUID
// (/proc/sys/kernel/random/boot_id, random(4)). It is read once: a list asks
// for each container.
func BootID() (string, error) { return bootID() }

var bootID = sync.OnceValues(func() (string, error) {
	b, err := ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})
