package nsenter

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// immutable returns a new file that fill has written, of mode 0111, which can
// be executed and never be changed by anyone: a sealed memfd or, where memfds
// may not be executed (the sysctl vm.memfd_noexec), a file on a read-only tmpfs
// that is attached nowhere.
func immutable(name string, fill func(fd int) error) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // MFD_EXEC is of Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err == unix.EACCES {
		return immutableTmpfs(name, fill)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	if err = fillExecutable(fd, fill); err == nil {
		err = seal(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("memfd %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func fillExecutable(fd int, fill func(fd int) error) error {
	if err := fill(fd); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, 0o111); err != nil {
		return fmt.Errorf("fchmod: %w", err)
	}
	return nil
}

// sealTries is how often seal tries. The kernel refuses to seal (EBUSY) while
// somebody holds one of the file's pages, as its own memory management does now
// and then, and has waited for a fraction of a second each time before it says so.
const sealTries = 10

// seal forbids every change of the memfd.
func seal(fd int) error {
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_EXEC
	seals, err := all, error(nil)
	for range sealTries {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		switch {
		case err == unix.EINVAL && seals == all: // F_SEAL_EXEC is of Linux 6.3
			seals &^= unix.F_SEAL_EXEC
			continue
		case err == unix.EBUSY:
			continue
		}
		break
	}
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// immutableTmpfs is immutable without a memfd. It needs CAP_SYS_ADMIN.
func immutableTmpfs(name string, fill func(fd int) error) (_ *os.File, err error) {
	mnt, err := linux.NewFilesystem("tmpfs", "", []linux.Param{{Key: "mode", Value: "0700"}},
		unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return nil, fmt.Errorf("memfds may not be executed (vm.memfd_noexec), and for a file instead: %w", err)
	}
	defer unix.Close(mnt)
	fd, err := unix.Openat(mnt, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o700)
	if err != nil {
		return nil, fmt.Errorf("create %s in a tmpfs: %w", name, err)
	}
	err = fillExecutable(fd, fill)
	// Nobody may have it open for writing when the filesystem becomes
	// read-only and the file is executed.
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return nil, fmt.Errorf("%s in a tmpfs: %w", name, err)
	}
	if fd, err = unix.Openat(mnt, name, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open %s in a tmpfs: %w", name, err)
	}
	if err := linux.Reconfigure(mnt, []linux.Param{{Key: "ro", Flag: true}}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make the tmpfs of %s read-only: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
