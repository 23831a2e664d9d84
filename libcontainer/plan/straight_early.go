package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
)

// early is credentials.Plan.Early: what needs the host's /proc, or rights that the
// process is not to have.
func (s *setUp) early() {
	defer s.span("set what needs the host's /proc", "")()
	if score := s.c.OOMScoreAdj; score != nil {
		text, fd := strconv.Itoa(*score), s.Cell()
		s.Call("open /proc/self/oom_score_adj", unix.SYS_OPENAT, num(unix.AT_FDCWD), s.String("/proc/self/oom_score_adj"),
			num(unix.O_WRONLY|unix.O_CLOEXEC)).Save = fd
		s.Call("process.oomScoreAdj: set "+text, unix.SYS_WRITE, fd.Value(), s.Bytes(text), num(len(text)))
		s.close(fd)
	}
	for i, r := range s.c.Rlimits {
		if have := s.i.Facts.Limits[i]; r.Hard > have.Max {
			s.Call(fmt.Sprintf("process.rlimits[%d]: raise the hard limit", r.Index), unix.SYS_PRLIMIT64,
				num(0), num(r.Resource), s.Words(have.Cur, r.Hard), num(0))
		}
	}
	s.keyring()
}

// keyring joins a new session keyring and makes it searchable for an exec. The
// permissions of a new one are always the same (security/keys/process_keys.c); one
// of this name that has others is left to init.
func (s *setUp) keyring() {
	if s.c.Keyring == "" {
		return
	}
	const born, search = 0x3f130000, 0x00080000
	id := s.Cell()
	join := s.Call("join the session keyring", unix.SYS_KEYCTL, num(unix.KEYCTL_JOIN_SESSION_KEYRING), s.String(s.c.Keyring))
	join.Save, join.Allow = id, nsenter.Errnos(unix.ENOSYS)
	none := s.last()
	// The text is "keyring;UID;GID;PERMISSIONS;NAME", the permissions of 8 digits:
	// they are to lie in one word.
	before := len(fmt.Sprintf("keyring;%d;%d;", s.i.Facts.UID, s.i.Facts.GID))
	const room = 512
	text := s.Words(make([]uint64, room/8)...)
	digits := text.Plus((before + 7) / 8 * 8)
	s.Call("describe it", unix.SYS_KEYCTL, num(unix.KEYCTL_DESCRIBE), id.Value(), text.Plus((before+7)/8*8-before), num(room-8))
	word := func(perm uint32) uint64 { return binary.LittleEndian.Uint64(fmt.Appendf(nil, "%08x", perm)) }
	done := s.jumpIf(digits, word(born|search), 0)
	s.want("know the permissions of the session keyring", digits, word(born), ^uint64(0))
	s.Call("make the session keyring searchable", unix.SYS_KEYCTL, num(unix.KEYCTL_SETPERM), id.Value(), num(born|search))
	s.land(none, done)
}

// network sets lo up, whose flags are those that every lo is born with, and the
// names of the uts namespace.
func (s *setUp) network() {
	if s.i.Init.LoopbackUp {
		end := s.span("set lo up", "")
		var ifreq [40]byte // netdevice(7)
		copy(ifreq[:], "lo")
		binary.NativeEndian.PutUint16(ifreq[unix.IFNAMSIZ:], unix.IFF_UP)
		fd := s.Cell()
		s.Call("bring up lo: make a socket", unix.SYS_SOCKET, num(unix.AF_INET), num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), num(0)).Save = fd
		s.Call("bring up lo", unix.SYS_IOCTL, fd.Value(), num(unix.SIOCSIFFLAGS), s.Bytes(string(ifreq[:])))
		s.close(fd)
		end()
	}
	defer s.span("set the hostname", "")()
	if name := s.i.Init.Hostname; name != "" {
		s.Call("hostname: set "+strconv.Quote(name), unix.SYS_SETHOSTNAME, s.Bytes(name), num(len(name)))
	}
	if name := s.i.Init.Domainname; name != "" {
		s.Call("domainname: set "+strconv.Quote(name), unix.SYS_SETDOMAINNAME, s.Bytes(name), num(len(name)))
	}
}

// ownStdio is initproc.OwnStdio.
func (s *setUp) ownStdio() {
	own := s.i.Facts.Own
	if s.i.Init.Terminal {
		if own = nil; s.c.UID != 0 { // it was made by root
			own = []int{0} // and is one file
		}
	}
	for _, fd := range own {
		s.Call("give a standard stream to the user", unix.SYS_FCHOWN, num(fd), id(s.c.UID), num(-1)).Allow =
			nsenter.Errnos(unix.EINVAL, unix.EPERM, unix.EROFS, unix.ENOSYS)
	}
}
