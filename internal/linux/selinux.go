package linux

import "golang.org/x/sys/unix"

// SELinuxDir is where selinuxfs is mounted, if SELinux is enabled.
const SELinuxDir = "/sys/fs/selinux"

// UnknownContext tells whether SELinux's policy, as it is loaded, has no such
// context. What cannot be asked, or may not, is taken for known: the kernel will
// say so where the context is used.
func UnknownContext(context string) bool {
	fd, err := openRetry(unix.AT_FDCWD, SELinuxDir+"/context", unix.O_RDWR|unix.O_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(context))
	return err == unix.EINVAL || err == unix.EFBIG
}
