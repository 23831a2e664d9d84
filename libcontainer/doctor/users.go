package doctor

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/host"
)

func (r *report) users() {
	r.area = "users"
	uid := os.Geteuid()
	r.who(uid)
	for _, kind := range []struct{ helper, file, what string }{
		{"newuidmap", "/etc/subuid", "user"},
		{"newgidmap", "/etc/subgid", "group"},
	} {
		means := "an ordinary user's container can have more than one " + kind.what + " id"
		path, err := exec.LookPath(kind.helper)
		switch {
		case err != nil:
			r.missing(kind.helper, "not in $PATH", means, "install it (Debian: uidmap)")
		case !privileged(path):
			r.restricted(kind.helper, path+" has neither the set-user-ID bit nor file capabilities", means, "install it anew, on a filesystem that is not mounted nosuid")
		default:
			r.there(kind.helper, path, means)
		}
		ranges, err := host.SubIDs(kind.file, uid)
		switch {
		case uid == 0:
			// Root maps what it likes.
		case err != nil:
			r.missing(kind.file, err.Error(), means, fmt.Sprintf("usermod --add-sub%ss 100000-165535 USER", kind.file[len("/etc/sub"):]))
		case len(ranges) == 0:
			r.missing(kind.file, fmt.Sprintf("no ids for user %d", uid), means, fmt.Sprintf("usermod --add-sub%ss 100000-165535 USER", kind.file[len("/etc/sub"):]))
		default:
			var n uint64
			for _, one := range ranges {
				n += one.Count
			}
			r.there(kind.file, fmt.Sprintf("%d ids for user %d", n, uid), means)
		}
	}
}

func (r *report) who(uid int) {
	facts, err := host.Probe()
	switch {
	case err != nil:
		r.missing("gourd's rights", err.Error(), "what gourd may do depends on who runs it", "mount /proc")
		r.needed()
	case uid != 0:
		r.restricted("gourd's rights", fmt.Sprintf("user %d", uid), "containers need a user namespace, and have the user's rights over the host", "nothing, if that is meant (rootless)")
	case !facts.InitialUserNS:
		r.restricted("gourd's rights", "root of a user namespace", "containers have the rights that the namespace has", "nothing, if that is meant (rootless, or gourd in a container)")
	case facts.Bounding>>unix.CAP_SYS_ADMIN&1 == 0:
		r.restricted("gourd's rights", "root without CAP_SYS_ADMIN", "containers need a user namespace", "run gourd with all capabilities")
	default:
		if lost := lacking(facts); lost > 0 {
			r.restricted("gourd's rights", fmt.Sprintf("root without %d of %d capabilities", lost, facts.LastCap+1), "containers cannot have a capability that gourd lacks", "run gourd with all capabilities")
			return
		}
		r.there("gourd's rights", "root, with all capabilities", "gourd can do all that a config may ask for")
	}
}

func lacking(f *host.Facts) (n int) {
	for c := range f.LastCap + 1 {
		if f.Bounding>>c&1 == 0 {
			n++
		}
	}
	return n
}

// privileged is whether a program gives its user more rights: by its mode or by
// capabilities, and on a filesystem that honours them.
func privileged(path string) bool {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Stat(path, &st) != nil || unix.Statfs(path, &fs) != nil || fs.Flags&unix.ST_NOSUID != 0 {
		return false
	}
	if st.Mode&unix.S_ISUID != 0 {
		return true
	}
	n, err := unix.Getxattr(path, "security.capability", nil)
	return err == nil && n > 0
}
