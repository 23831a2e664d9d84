package config

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Identity is who the process is.
type Identity struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Home     string
}

// User is the identity as the runtime-spec has it.
func (i Identity) User() specs.User {
	return specs.User{UID: i.UID, GID: i.GID, AdditionalGids: i.Groups}
}

// maxAccounts is how much of /etc/passwd and /etc/group is read, in bytes.
const maxAccounts = 4 << 20

// Identify looks USER[:GROUP] up in the /etc/passwd and /etc/group of a root
// filesystem. Ids need not be there. Symlinks are followed as in the
// container, and what is no regular file counts as missing.
func Identify(root *os.File, spec string) (Identity, error) {
	passwd, err := accounts(root, "/etc/passwd")
	if err != nil {
		return Identity{}, err
	}
	group, err := accounts(root, "/etc/group")
	if err != nil {
		return Identity{}, err
	}
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return Identity{}, fmt.Errorf("user %q: %w", spec, err)
	}
	id := Identity{UID: uint32(u.Uid), GID: uint32(u.Gid), Home: u.Home}
	for _, g := range u.Sgids {
		if g != u.Gid {
			id.Groups = append(id.Groups, uint32(g))
		}
	}
	slices.Sort(id.Groups)
	id.Groups = slices.Compact(id.Groups)
	return id, nil
}

// accounts reads a file of the root filesystem; "" if there is none.
func accounts(root *os.File, name string) (string, error) {
	fd, err := linux.OpenRegularInRoot(int(root.Fd()), name)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EINVAL:
		return "", nil
	default:
		return "", &os.PathError{Op: "open in the root filesystem", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if st.Size() > maxAccounts {
		return "", fmt.Errorf("read %s of the root filesystem: it has more than %d bytes", name, maxAccounts)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAccounts))
	if err != nil {
		return "", err
	}
	return string(data), nil
}
