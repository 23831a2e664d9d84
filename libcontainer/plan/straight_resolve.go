package plan

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/nsenter"
)

// resolve looks for the program as credentials.Plan.Resolve does, with the rights of
// its user. It returns where the address of its path is then; the page has the text.
func (s *setUp) resolve() (found nsenter.Arg) {
	defer s.span("look for the program", "")()
	found = s.Cell()
	var done []int
	for _, path := range s.c.Candidates() {
		at := path
		if !strings.HasPrefix(path, "/") {
			at = s.c.Cwd + "/" + path
		}
		fd, text := s.Cell(), s.String(path)
		var not []int
		look := s.openInRoot("look for "+path, at, unix.O_PATH) // no magic links: /proc/self/exe is the stub
		look.Save, look.Allow = fd, nsenter.Errnos(unix.ENOENT, unix.EACCES, unix.ENOTDIR, unix.ELOOP)
		not = append(not, s.last())
		s.look(fd.Value())
		file := s.ifType(unix.S_IFREG)
		not = append(not, s.jump())
		s.land(file)
		s.Call("ask whether "+path+" may be executed", unix.SYS_FACCESSAT2, fd.Value(), s.empty, num(unix.X_OK), num(unix.AT_EACCESS|unix.AT_EMPTY_PATH)).Allow =
			nsenter.Errnos(unix.EACCES)
		not = append(not, s.last())
		s.close(fd)
		s.Set("take "+path, found, text)
		length := min(len(path), notify.PathRoom)
		s.Call("note "+path, unix.SYS_PWRITE64, num(s.i.Facts.Page), text, num(length), num(notify.PathAt))
		done = append(done, s.jump())
		s.land(not...)
	}
	s.fail("find the program " + s.c.Args[0])
	s.land(done...)
	return found
}
