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
	denied := s.Words(0) // not 0: there is one that may not be executed
	path := strings.Contains(s.c.Args[0], "/")
	var done []int
	for _, candidate := range s.c.Candidates() {
		if path {
			done = append(done, s.take(candidate, found))
		} else {
			done = append(done, s.try(candidate, found, denied))
		}
	}
	if !path {
		none := s.jumpIf(denied, 0, 0)
		s.notFound("a program that may be executed", unix.EACCES)
		s.land(none)
		s.notFound("the program", unix.ENOENT)
	}
	s.land(done...)
	return found
}

// take takes the program of this path, and fails if it is none.
func (s *setUp) take(path string, found nsenter.Arg) (done int) {
	fd := s.Cell()
	look, ask := "look for "+path, "ask whether "+path+" may be executed"
	s.lookFor(look, path).Save = fd
	s.look(fd.Value())
	file, dir := s.ifType(unix.S_IFREG), s.ifType(unix.S_IFDIR)
	s.notFound("a file that is "+path, unix.EACCES) // as execve(2)
	s.land(dir)
	s.notFound("a file and no directory that is "+path, unix.EISDIR)
	s.land(file)
	s.mayExecute(ask, fd)
	s.close(fd)
	for _, step := range [...]string{look, ask} {
		s.i.words[step] = func(errno unix.Errno) error { return s.c.LookupError(errno) }
	}
	return s.found(path, found)
}

// try is take for one of several paths, the next of which follows.
func (s *setUp) try(path string, found, denied nsenter.Arg) (done int) {
	fd := s.Words(0)
	look := s.lookFor("look for "+path, path)
	look.Save, look.Allow = fd, nsenter.Errnos(unix.ENOENT, unix.EACCES, unix.ENOTDIR, unix.ELOOP)
	failed := s.last()
	s.look(fd.Value())
	file, dir := s.ifType(unix.S_IFREG), s.ifType(unix.S_IFDIR)
	other := s.jump()
	s.land(file)
	s.mayExecute("ask whether "+path+" may be executed", fd).Allow = nsenter.Errnos(unix.EACCES)
	refused := s.last()
	s.close(fd)
	done = s.found(path, found)

	s.land(failed)
	noSearch := s.jumpIf(fd, errno(unix.EACCES), 0)
	nothing := s.jump()
	s.land(noSearch, other, refused)
	s.Set("remember that it may not be executed", denied, num(1))
	s.land(nothing, dir)
	return done
}

// lookFor opens the file of a path that may be relative to the working directory.
func (s *setUp) lookFor(why, path string) *nsenter.Step {
	if !strings.HasPrefix(path, "/") {
		path = s.c.Cwd + "/" + path
	}
	return s.openInRoot(why, path, unix.O_PATH) // no magic links: /proc/self/exe is the stub
}

func (s *setUp) mayExecute(why string, fd nsenter.Arg) *nsenter.Step {
	return s.Call(why, unix.SYS_FACCESSAT2, fd.Value(), s.empty, num(unix.X_OK), num(unix.AT_EACCESS|unix.AT_EMPTY_PATH))
}

// found notes the path, for the execve and for who reads of it on the page.
func (s *setUp) found(path string, found nsenter.Arg) (done int) {
	text := s.String(path)
	s.Set("take "+path, found, text)
	s.Call("note "+path, unix.SYS_PWRITE64, num(s.i.Facts.Page), text, num(min(len(path), notify.PathRoom)), num(notify.PathAt))
	return s.jump()
}

// notFound appends a step that fails.
func (s *setUp) notFound(what string, errno unix.Errno) {
	why := "find " + what
	s.fail(why)
	s.i.words[why] = func(unix.Errno) error { return s.c.LookupError(errno) }
}
