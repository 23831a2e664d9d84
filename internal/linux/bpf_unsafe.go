package linux

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf(2), as far as programs on cgroups need it. The structs are the members
// of union bpf_attr (linux/bpf.h) up to the last field that is used here: the
// kernel takes the rest as zero.

// BPFInsn is one eBPF instruction (RFC 9669, section 3), as the kernel has it
// in memory.
type BPFInsn struct {
	Code uint8
	Regs uint8 // destination in the lower half, source in the upper
	Off  int16
	Imm  int32
}

// BPFProgLoad loads a program and returns a close-on-exec fd of it. name, of at
// most 15 characters, is what BPFProgName tells. If the verifier rejects the
// program its log is part of the error.
func BPFProgLoad(kind uint32, insns []BPFInsn, license, name string) (int, error) {
	attr := struct {
		progType, insnCnt uint32
		insns, license    uint64
		logLevel, logSize uint32
		logBuf            uint64
		kernVersion       uint32
		progFlags         uint32
		name              [unix.BPF_OBJ_NAME_LEN]byte
	}{progType: kind, insnCnt: uint32(len(insns))}
	lic := append([]byte(license), 0)
	copy(attr.name[:len(attr.name)-1], name)
	var pins runtime.Pinner
	defer pins.Unpin()
	attr.insns = address(&pins, insns)
	attr.license = address(&pins, lic)

	fd, errno := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if errno == 0 {
		return fd, nil
	}
	var log []byte
	if errno == unix.EINVAL || errno == unix.EACCES { // what the verifier says no with
		log = make([]byte, 64<<10)
		attr.logLevel, attr.logSize, attr.logBuf = 1, uint32(len(log)), address(&pins, log)
		if fd, again := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); again == 0 {
			unix.Close(fd)
		}
	}
	log, _, _ = bytes.Cut(log, []byte{0})
	if log = bytes.TrimSpace(log); len(log) > 0 {
		return -1, fmt.Errorf("load eBPF program: %w: verifier: %s", errno, log)
	}
	return -1, fmt.Errorf("load eBPF program: %w", errno)
}

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
		// BPF_PROG_LOAD gives up with EAGAIN when a signal comes meanwhile.
		if errno == unix.EINTR || errno == unix.EAGAIN {
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
