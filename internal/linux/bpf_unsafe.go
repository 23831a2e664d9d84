package linux

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf(2), as far as attaching programs to cgroups needs it; they are loaded by
// cilium/ebpf. The structs are the members
// of union bpf_attr (linux/bpf.h) up to the last field that is used here: the
// kernel takes the rest as zero.

// BPFProgAttach attaches the program to the cgroup of the fd target. flags are
// BPF_F_ALLOW_MULTI and the like; with BPF_F_REPLACE it takes the place of
// the program replace (kernel 5.6).
func BPFProgAttach(target, prog int, kind, flags uint32, replace int) error {
	attr := struct{ target, prog, kind, flags, replace uint32 }{
		uint32(target), uint32(prog), kind, flags, uint32(max(replace, 0)),
	}
	if _, errno := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); errno != 0 {
		return fmt.Errorf("attach eBPF program: %w", errno)
	}
	return nil
}

// BPFProgDetach detaches the program from the cgroup of the fd target.
func BPFProgDetach(target, prog int, kind uint32) error {
	attr := struct{ target, prog, kind, flags uint32 }{uint32(target), uint32(prog), kind, 0}
	if _, errno := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); errno != 0 {
		return fmt.Errorf("detach eBPF program: %w", errno)
	}
	return nil
}

// BPFProgQuery returns the ids of the programs of a kind that are attached to
// the cgroup of the fd target itself, not those that it inherits.
func BPFProgQuery(target int, kind uint32) ([]uint32, error) {
	ids := make([]uint32, 8)
	for {
		attr := struct {
			target, kind, queryFlags, attachFlags uint32
			ids                                   uint64
			count                                 uint32
			_                                     uint32
		}{target: uint32(target), kind: kind, count: uint32(len(ids))}
		var pins runtime.Pinner
		attr.ids = address(&pins, ids)
		_, errno := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		pins.Unpin()
		if errno == unix.ENOSPC { // count says how many there are
			ids = make([]uint32, max(int(attr.count), 2*len(ids)))
			continue
		}
		if errno != 0 {
			return nil, fmt.Errorf("list eBPF programs: %w", errno)
		}
		return ids[:attr.count], nil
	}
}

// BPFProgByID returns a close-on-exec fd of the program with an id.
func BPFProgByID(id uint32) (int, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	fd, errno := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, fmt.Errorf("open eBPF program %d: %w", id, errno)
	}
	return fd, nil
}

// BPFProgName returns the name that a program was loaded with.
func BPFProgName(prog int) (string, error) {
	info := make([]struct { // struct bpf_prog_info
		kind, id            uint32
		tag                 [8]byte
		jitedLen, xlatedLen uint32
		jited, xlated       uint64
		loadTime            uint64
		createdBy, nrMapIDs uint32
		mapIDs              uint64
		name                [unix.BPF_OBJ_NAME_LEN]byte
	}, 1)
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(prog), uint32(unsafe.Sizeof(info[0])), 0}
	var pins runtime.Pinner
	defer pins.Unpin()
	attr.info = address(&pins, info)
	_, errno := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if errno != 0 {
		return "", fmt.Errorf("read an eBPF program's name: %w", errno)
	}
	name, _, _ := bytes.Cut(info[0].name[:], []byte{0})
	return string(name), nil
}

// bpf calls bpf(2). attr points to a struct of size bytes that is laid out like
// the member of union bpf_attr that cmd uses. Every address in it is of pinned
// memory that lives on until bpf returns (see address).
func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		if errno == unix.EINTR {
			continue
		}
		return int(r), errno
	}
}

// address pins the elements of s, so that they neither move nor are freed until
// pins is unpinned, and returns where they are. s must not be empty.
func address[T any](pins *runtime.Pinner, s []T) uint64 {
	pins.Pin(&s[0])
	return uint64(uintptr(unsafe.Pointer(&s[0])))
}
