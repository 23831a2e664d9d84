package libcontainer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/nsenter"
)

// grant does to init, before it begins, what an init in a user namespace may
// not do to itself, and checks that a joined user namespace is the one that
// the config describes.
func grant(p *plan.Plan, init int) error {
	defer trace.Begin("do for init what it may not").End()
	cred := &p.Init.Credentials
	if !cred.UserNS {
		return nil
	}
	if err := checkJoinedMaps(&p.Enter, init); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil // an ordinary user has no more rights than init
	}
	return errors.Join(cred.SetOOMScoreAdj(init), cred.RaiseLimits(init))
}

// checkJoinedMaps compares the mappings of the config, if it has any, with
// those of the user namespace that init has joined. Engines send both the path
// and the mappings, and take the ids of what they prepare from the latter.
func checkJoinedMaps(e *plan.Enter, init int) error {
	j := e.Joins(unix.CLONE_NEWUSER)
	if j == nil {
		return nil
	}
	for _, m := range [...]struct {
		where, file string
		maps        []nsenter.IDMap
	}{
		{"linux.uidMappings", "uid_map", e.UIDMaps},
		{"linux.gidMappings", "gid_map", e.GIDMaps},
	} {
		if len(m.maps) == 0 {
			continue
		}
		have, err := linux.ReadFile("/proc/" + strconv.Itoa(init) + "/" + m.file)
		if err != nil {
			return fmt.Errorf("%s: read those of the joined user namespace: %w", m.where, err)
		}
		if !sameMaps(have, m.maps) {
			return fmt.Errorf("%s: the user namespace %s (%s) has other mappings (inside, outside, size): %s",
				m.where, j.Path, j.From, strings.Join(mapLines(have), "; "))
		}
	}
	return nil
}

// sameMaps is whether the uid_map or gid_map has exactly these lines; the
// order, which means nothing, may differ.
func sameMaps(file []byte, want []nsenter.IDMap) bool {
	lines := mapLines(file)
	if len(lines) != len(want) {
		return false
	}
next:
	for _, m := range want {
		line := fmt.Sprintf("%d %d %d", m.Inside, m.Outside, m.Size)
		for _, have := range lines {
			if have == line {
				continue next
			}
		}
		return false
	}
	return true
}

// mapLines returns the lines of a uid_map with single spaces.
func mapLines(file []byte) []string {
	var out []string
	for line := range bytes.Lines(file) {
		out = append(out, strings.Join(strings.Fields(string(line)), " "))
	}
	return out
}
