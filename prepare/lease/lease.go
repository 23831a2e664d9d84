// Package lease gives addresses of a subnet to containers and takes them back.
//
// The leases are lines of a file that has the form of hosts(5): the address,
// the container's name, and behind a # its id. The file is replaced by a rename
// under an exclusive lock, so that two callers never get the same address, and
// one that is killed leaves either the old file or the new. It sets up no
// network.
package lease

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrExhausted says that a subnet has no free address.
var ErrExhausted = errors.New("no address is free")

// Lease is one line.
type Lease struct {
	Address netip.Addr `json:"address"`
	Name    string     `json:"name"`
	ID      string     `json:"id"`
}

// File is a lease file. Its lock is beside it, for the file itself is replaced.
type File struct{ Path string }

// Take leases the first free address of a subnet to the container id. Leases
// of containers that are gone are taken back. Who has a lease keeps it.
func (f File) Take(subnet netip.Prefix, name, id string, gone func(id string) bool) (netip.Addr, error) {
	if strings.ContainsAny(name, " \t\n#") || name == "" {
		return netip.Addr{}, fmt.Errorf("lease an address: the name %q is not valid", name)
	}
	first, last, err := Usable(subnet)
	if err != nil {
		return netip.Addr{}, err
	}
	var got netip.Addr
	err = f.change(func(all []Lease) ([]Lease, error) {
		taken := map[netip.Addr]bool{}
		kept := all[:0:0]
		for _, l := range all {
			if l.ID == id && subnet.Contains(l.Address) {
				got = l.Address
			} else if gone(l.ID) {
				continue
			}
			taken[l.Address] = true
			kept = append(kept, l)
		}
		if got.IsValid() {
			return kept, nil
		}
		for a := first; a.Compare(last) <= 0; a = a.Next() {
			if !taken[a] {
				got = a
				return append(kept, Lease{a, name, id}), nil
			}
		}
		return nil, fmt.Errorf("lease an address of %s: %w", subnet, ErrExhausted)
	})
	return got, err
}

// Claim leases an address that the container id has already, unless another
// container has it.
func (f File) Claim(a netip.Addr, name, id string, gone func(id string) bool) error {
	return f.change(func(all []Lease) ([]Lease, error) {
		for i, l := range all {
			switch {
			case l.Address != a:
			case l.ID == id:
				return all, nil
			case gone(l.ID):
				all[i] = Lease{a, name, id}
				return all, nil
			default:
				return nil, fmt.Errorf("lease the address %s: container %s has it", a, l.Name)
			}
		}
		return append(all, Lease{a, name, id}), nil
	})
}

// Release takes back the leases of containers.
func (f File) Release(gone func(id string) bool) error {
	return f.change(func(all []Lease) ([]Lease, error) {
		var kept []Lease
		for _, l := range all {
			if !gone(l.ID) {
				kept = append(kept, l)
			}
		}
		return kept, nil
	})
}

// All returns the leases. A file that is not there has none.
func (f File) All() ([]Lease, error) {
	data, err := os.ReadFile(f.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(f.Path, data)
}

// Gateway is the first address behind that of the network itself.
func Gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// Usable returns the first and last address of a subnet that are leased. The
// network, the gateway, the broadcast address and the last /24 are reserved, of
// a small subnet, which has no /24 to spare, the first three.
func Usable(subnet netip.Prefix) (first, last netip.Addr, err error) {
	if !subnet.IsValid() || !subnet.Addr().Is4() {
		return first, last, fmt.Errorf("subnet %s: it must be one of IPv4", subnet)
	}
	if subnet.Bits() > 29 {
		return first, last, fmt.Errorf("subnet %s: it is too small, the smallest is a /29", subnet)
	}
	if subnet.Bits() < 8 {
		return first, last, fmt.Errorf("subnet %s: it is too large, the largest is a /8", subnet)
	}
	base := subnet.Masked().Addr().As4()
	n := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	end := n + 1<<(32-subnet.Bits()) - 1 // broadcast
	end--
	if subnet.Bits() < 24 {
		end = n + 1<<(32-subnet.Bits()) - 1 - 256
	}
	return addr(n + 2), addr(end), nil
}

func addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// change replaces the file under its lock.
func (f File) change(do func([]Lease) ([]Lease, error)) error {
	lock, err := os.OpenFile(f.Path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock the leases: %w", err)
	}
	defer lock.Close()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return fmt.Errorf("lock the leases: %w", err)
		}
	}
	all, err := f.All()
	if err != nil {
		return err
	}
	after, err := do(all)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, l := range after {
		fmt.Fprintf(&b, "%s\t%s\t# %s\n", l.Address, l.Name, l.ID)
	}
	return replace(f.Path, b.Bytes())
}

// replace writes beside the file, to the disk, and renames.
func replace(name string, data []byte) (err error) {
	tmp := name + ".new" // the lock is held: there is one at a time
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(tmp, name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// parse reads the file. A line that is not understood is an error: rewriting
// the file would lose it.
func parse(name string, data []byte) ([]Lease, error) {
	var all []Lease
	for i, line := range strings.Split(string(data), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		entry, id, ok := strings.Cut(line, "#")
		fields := strings.Fields(entry)
		id = strings.TrimSpace(id)
		if !ok || len(fields) != 2 || id == "" {
			return nil, fmt.Errorf("%s:%d: %q is not a lease: ADDRESS NAME # ID", name, i+1, line)
		}
		a, err := netip.ParseAddr(fields[0])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		all = append(all, Lease{a, fields[1], id})
	}
	return all, nil
}
