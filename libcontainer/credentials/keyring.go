package credentials

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Permission bits of a key (keyctl_setperm(3)).
const (
	keyUserSearch  = 0x00080000
	keyOtherSearch = 0x00000008
)

// joinKeyring gives the process a session keyring of its own, so that it does
// not hold the keys of gourd's caller. The keyring has a name, by which `exec`
// joins it; its permissions let the container's processes find it under
// another uid, or from within their user namespace. The keys inside stay
// subject to their own permissions.
//
// A kernel without keyrings has no keys to protect: that is no error.
func (p *Plan) joinKeyring() (err error) {
	if p.Keyring == "" {
		return nil
	}
	if p.SELinuxLabel != "" {
		if err := writeOwnAttr("keycreate", p.SELinuxLabel); err != nil {
			return fmt.Errorf("process.selinuxLabel: label the session keyring %q: %w", p.SELinuxLabel, err)
		}
		defer func() { err = errors.Join(err, writeOwnAttr("keycreate", "")) }()
	}
	id, err := unix.KeyctlJoinSessionKeyring(p.Keyring)
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		if errors.Is(err, unix.EDQUOT) {
			err = fmt.Errorf("%w (the user's quota: see kernel.keys.maxkeys; --no-new-keyring does without)", err)
		}
		return fmt.Errorf("join the session keyring %q: %w", p.Keyring, err)
	}
	desc, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
	if err != nil {
		return fmt.Errorf("describe the session keyring %q: %w", p.Keyring, err)
	}
	perm, err := keyPermissions(desc)
	if err != nil {
		return fmt.Errorf("session keyring %q: %w", p.Keyring, err)
	}
	search := uint32(keyUserSearch) // for exec, which joins as the same user
	if p.UserNS {
		search |= keyOtherSearch
	}
	if err := unix.KeyctlSetperm(id, perm|search); err != nil {
		return fmt.Errorf("make the session keyring %q searchable: %w", p.Keyring, err)
	}
	return nil
}

// keyPermissions returns the permissions in what KEYCTL_DESCRIBE says of a key:
// "type;uid;gid;permissions;name", the permissions hexadecimal.
func keyPermissions(desc string) (uint32, error) {
	f := strings.SplitN(desc, ";", 5)
	if len(f) < 5 {
		return 0, fmt.Errorf("the kernel describes it as %q, which has too few fields", desc)
	}
	n, err := strconv.ParseUint(f[3], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("the kernel describes it as %q: %w", desc, err)
	}
	return uint32(n), nil
}
