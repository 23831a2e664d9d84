package linux

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// initialUserNS is the inode number of the initial user namespace, a constant of
// the kernel's since 3.8 (PROC_USER_INIT_INO).
const initialUserNS = 0xEFFFFFFD

// InInitialUserNS tells whether this process is in the initial user namespace. Its
// id maps do not: those of another may map every id to itself, too.
func InInitialUserNS() (bool, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &st); err != nil {
		return false, fmt.Errorf("look at the own user namespace: %w", err)
	}
	return st.Ino == initialUserNS, nil
}
