package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// oomName is the file for how many processes the OOM killer has killed, at the
// end. It is there only if somebody watches.
const oomName = "oom"

// WatchOOM returns a file that TellOOM writes to: it can be read also when the
// container has been deleted.
func (d *Dir) WatchOOM() (*os.File, error) {
	return d.open(oomName, unix.O_RDWR|unix.O_CREAT)
}

// TellOOM writes for those who have called WatchOOM what count returns. It does
// not call it if there are none.
func (d *Dir) TellOOM(count func() (uint64, error)) error {
	f, err := d.open(oomName, unix.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := count()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, n); err != nil {
		return fmt.Errorf("container %q: %w", d.id, err)
	}
	return nil
}

// ToldOOM reads what TellOOM wrote; 0 if it has not.
func ToldOOM(f *os.File) (n uint64, err error) {
	data := make([]byte, 32)
	size, err := f.ReadAt(data, 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	if size == 0 {
		return 0, nil
	}
	_, err = fmt.Sscanln(string(data[:size]), &n)
	return n, err
}
