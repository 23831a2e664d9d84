package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// enableFailure is a controller that could not be enabled for the children of
// a directory.
type enableFailure struct {
	dir        string
	controller string
	err        error
}

// accounting are the controllers that are enabled wherever the hierarchy has
// them, also without a limit: events and stats are made of their files. They
// are those that systemd's *Accounting= properties stand for.
func accounting() []string { return []string{"cpu", "io", "memory", "pids"} }

// wanted returns the controllers to enable for p, in ascending order.
func wanted(p *Plan) []string {
	want := accounting()
	for _, ws := range [...][]Write{p.Writes, p.Late} {
		for i := range ws {
			if c := ws[i].Controller; c != "" && !slices.Contains(want, c) {
				want = append(want, c)
			}
		}
	}
	slices.Sort(want)
	return want
}

// enable makes the controllers of want available to the children of dir, where
// dir has them itself. What it cannot enable it returns: whether that matters
// shows when a limit needs it.
func enable(fd int, dir string, want []string) []enableFailure {
	now, err := readAt(fd, "cgroup.subtree_control")
	if err != nil {
		return nil // then writing to it fails as well, and a limit tells
	}
	missing := lacking(now, want)
	if len(missing) == 0 {
		return nil
	}
	has, err := readAt(fd, "cgroup.controllers")
	if err != nil {
		return nil
	}
	absent := lacking(has, missing)
	missing = slices.DeleteFunc(missing, func(c string) bool { return slices.Contains(absent, c) })
	if len(missing) == 0 {
		return nil
	}
	if writeAt(fd, "cgroup.subtree_control", "+"+strings.Join(missing, " +")) == nil {
		return nil
	}
	// All or none: find out which one cannot be.
	var failed []enableFailure
	for _, c := range missing {
		if err := writeAt(fd, "cgroup.subtree_control", "+"+c); err != nil {
			failed = append(failed, enableFailure{dir, c, err})
		}
	}
	return failed
}

// Enable makes the controllers that p needs available to the cgroup, as far as
// the cgroups above it can give them. Create has done it.
func (c *Cgroup) Enable(p *Plan) error {
	if err := c.check("enable controllers of"); err != nil {
		return err
	}
	want := wanted(p)
	if has, err := readAt(c.fd, "cgroup.controllers"); err == nil && len(lacking(has, want)) == 0 {
		return nil
	}
	rel, ok := relative(c.rec.Root, c.rec.Path)
	if !ok {
		return nil
	}
	c.enabled = nil
	dir := c.rec.Root
	for name := range strings.SplitSeq(rel[1:], "/") {
		fd, err := openDir(dir)
		if err != nil {
			return err
		}
		c.enabled = append(c.enabled, enable(fd, dir, want)...)
		unix.Close(fd)
		dir = path.Join(dir, name)
	}
	return nil
}

// lacking returns those of want that are not in the space-separated list.
func lacking(list []byte, want []string) []string {
	have := bytes.Fields(list)
	var out []string
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h []byte) bool { return string(h) == w }) {
			out = append(out, w)
		}
	}
	return out
}

// checkControllers makes sure that every controller that a limit needs is
// there, so that a late limit fails before there is a container to limit.
func (c *Cgroup) checkControllers(p *Plan) error {
	var has []byte
	for _, ws := range [...][]Write{p.Writes, p.Late} {
		for i := range ws {
			w := &ws[i]
			if w.Optional || w.Controller == "" {
				continue
			}
			if has == nil {
				data, err := readAt(c.fd, "cgroup.controllers")
				if err != nil {
					return fmt.Errorf("cgroup %s: %w", c.rec.Path, err)
				}
				has = append(data, ' ') // never nil again
			}
			if len(lacking(has, []string{w.Controller})) > 0 {
				return c.writeError(w, unix.ENOENT)
			}
		}
	}
	return nil
}

// why explains why the controller is not there, and what can be done. It
// returns "" when it is there.
func (c *Cgroup) why(controller string) string {
	for _, f := range c.enabled {
		if f.controller == controller {
			return fmt.Sprintf("the %s controller cannot be enabled in %s: %s", controller, path.Join(f.dir, "cgroup.subtree_control"), enableReason(f))
		}
	}
	rel, ok := relative(c.rec.Root, c.rec.Path)
	if !ok {
		return ""
	}
	if missing(c.rec.Root, controller) {
		return fmt.Sprintf("cgroup v2 has no %s controller on this host, see %s: the kernel lacks it, or cgroup v1 has taken it (boot with cgroup_no_v1=%s, or with systemd.unified_cgroup_hierarchy=1)",
			controller, path.Join(c.rec.Root, "cgroup.controllers"), controller)
	}
	dir := c.rec.Root
	for name := range strings.SplitSeq(rel[1:], "/") {
		sub := path.Join(dir, name)
		if missing(sub, controller) {
			return fmt.Sprintf("the %s controller is not enabled here; enable it in %s", controller, path.Join(dir, "cgroup.subtree_control"))
		}
		dir = sub
	}
	return ""
}

// missing tells whether the cgroup at dir surely lacks the controller.
func missing(dir, controller string) bool {
	data, err := os.ReadFile(path.Join(dir, "cgroup.controllers"))
	return err == nil && len(lacking(data, []string{controller})) > 0
}

// enableReason says what the kernel means by refusing a controller
// (cgroup-v2.rst, "No Internal Process Constraint" and "Threads").
func enableReason(f enableFailure) string {
	var errno unix.Errno
	if !errors.As(f.err, &errno) {
		return f.err.Error()
	}
	switch errno {
	case unix.EBUSY:
		return fmt.Sprintf("%s: %s has processes of its own, and only a cgroup without may give this controller to its children; move them into a sub-cgroup, or choose another cgroupsPath", errno, f.dir)
	case unix.EOPNOTSUPP:
		return fmt.Sprintf("%s: %s is threaded, and this controller works on whole processes only; choose another cgroupsPath", errno, f.dir)
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return fmt.Sprintf("%s: this user may not; let the owner delegate it (with systemd: Delegate=%s)", errno, f.controller)
	}
	return errno.Error()
}
