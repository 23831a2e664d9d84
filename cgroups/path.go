package cgroups

import (
	"path"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
)

// compilePath returns the container's cgroup as an absolute path below the
// cgroup2 root, "/gourd/web" for example.
//
// An absolute cgroupsPath is below the root. A relative one is below the parent
// of gourd's own cgroup, and an unset one is the container's id, taken as
// relative: that is where runc puts them, because gourd's own cgroup has
// processes and so may not give controllers to children. ".." never leads above
// the place that a path starts from.
func compilePath(e *Env, d *defect.List) string {
	const where = "linux.cgroupsPath"
	given := e.CgroupsPath
	if given == "" {
		given = e.ID
	}
	if strings.ContainsAny(given, "\n\x00") {
		// The kernel refuses a newline in a name; /proc/PID/cgroup has a line for each.
		d.Add(where, "%q has a newline or a null byte in it", given)
		return ""
	}
	p := path.Clean("/" + given)
	if !strings.HasPrefix(given, "/") {
		if strings.HasPrefix(e.Own, "/..") {
			d.Add(where, "%q is relative to gourd's own cgroup, which is outside of this cgroup namespace (%s): give an absolute path", given, e.Own)
			return ""
		}
		p = path.Join(path.Dir(path.Clean("/"+e.Own)), p)
	}
	switch {
	case p == "/":
		d.Add(where, "%q is the root cgroup: a container cannot have that", e.CgroupsPath)
	case within(path.Clean("/"+e.Own), p):
		d.Add(where, "%q is the cgroup %s, which gourd itself is in (%s)", e.CgroupsPath, p, e.Own)
	}
	return p
}

// within tells whether the cgroup p is top or below it.
func within(p, top string) bool {
	return p == top || top == "/" || strings.HasPrefix(p, top) && p[len(top)] == '/'
}
