package credentials

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

const (
	maxGroups = 65536     // NGROUPS_MAX (setgroups(2))
	noID      = 1<<32 - 1 // (uid_t) -1 means "no change" to the kernel
)

// checkUser checks that the ids exist in the container's user namespace. The
// numbers are taken as they are: no passwd file of the image turns one into
// another (CVE-2016-3697, CVE-2026-30892). user.username is for Windows.
func checkUser(u specs.User, s *specs.Spec, e Env, d *defect.List) {
	var uids, gids []specs.LinuxIDMapping
	mapped := e.NewUserNS && s != nil && s.Linux != nil
	if mapped {
		uids, gids = s.Linux.UIDMappings, s.Linux.GIDMappings
	}
	check := func(path string, id uint32, kind string, maps []specs.LinuxIDMapping) {
		switch {
		case id == noID:
			d.Add(path, "%d is not a %s", id, kind)
		case len(maps) > 0 && !isMapped(id, maps):
			d.Add(path, "linux.%sMappings do not map %s %d", kind, kind, id)
		}
	}
	check("process.user.uid", u.UID, "uid", uids)
	check("process.user.gid", u.GID, "gid", gids)
	if len(u.AdditionalGids) > maxGroups {
		d.Add("process.user.additionalGids", "%d groups are more than the kernel takes, %d", len(u.AdditionalGids), maxGroups)
		return
	}
	for i, g := range u.AdditionalGids {
		check(fmt.Sprintf("process.user.additionalGids[%d]", i), g, "gid", gids)
	}
	if e.SetgroupsDenied && len(u.AdditionalGids) > 0 {
		d.Add("process.user.additionalGids", "setgroups(2) is denied in the user namespace (user_namespaces(7)), so there can be none")
	}
}

func isMapped(id uint32, maps []specs.LinuxIDMapping) bool {
	for _, m := range maps {
		if id >= m.ContainerID && uint64(id) < uint64(m.ContainerID)+uint64(m.Size) {
			return true
		}
	}
	return false
}

// setIDs sets groups, group ids and user ids, in this order: after setresuid
// the right to the others is gone.
func (p *Plan) setIDs() error {
	if err := p.setGroups(); err != nil {
		return err
	}
	if err := linux.SetThreadGIDs(p.GID); err != nil {
		return fmt.Errorf("process.user.gid: set gid %d: %w", p.GID, explainUnmapped(err))
	}
	if err := linux.SetThreadUIDs(p.UID); err != nil {
		return fmt.Errorf("process.user.uid: set uid %d: %w", p.UID, explainUnmapped(err))
	}
	return nil
}

// setGroups replaces the caller's supplementary groups, with none if none are
// asked for. Where a user namespace denies that and none are asked for, the
// caller's stay: nobody in there can drop them.
func (p *Plan) setGroups() error {
	if p.SetgroupsDenied && len(p.Groups) == 0 {
		return nil
	}
	err := linux.SetThreadGroups(p.Groups)
	if err == unix.EPERM && p.UserNS && len(p.Groups) == 0 {
		// In a user namespace init has CAP_SETGID, so the namespace denies it.
		return nil
	}
	if err == unix.EPERM && p.UserNS {
		err = linux.Worded(unix.EPERM, "setgroups(2) is denied in the user namespace (user_namespaces(7))")
	}
	if err != nil {
		return fmt.Errorf("process.user.additionalGids: set groups %d: %w", p.Groups, explainUnmapped(err))
	}
	return nil
}

// explainUnmapped adds to EINVAL what it means of an id (setresuid(2)).
func explainUnmapped(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w (it is not mapped in the user namespace)", err)
	}
	return err
}
