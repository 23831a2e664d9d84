package credentials

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Exec is what is handed to execve.
type Exec struct {
	Path string // in the container; relative to the working directory if args[0] is
	Argv []string
	Env  []string
}

// LookupError is why a program cannot be executed. Its text is that of Go's
// os/exec, which users and engines know from runc: engines tell "not found"
// (exit status 127) from "cannot be executed" (126) by it.
type LookupError struct {
	File    string // args[0]
	Problem string
	Errno   unix.Errno
}

// Error returns `exec: "FILE": PROBLEM`.
func (e *LookupError) Error() string { return fmt.Sprintf("exec: %q: %s", e.File, e.Problem) }

// Unwrap returns the errno.
func (e *LookupError) Unwrap() error { return e.Errno }

// defaultPath is where execvp(3) looks for a program when PATH is not set.
const defaultPath = "/bin:/usr/bin"

// Resolve finds the program in the container whose root directory rootfd is,
// and completes the environment with HOME. It comes after Apply, so that the
// permission it looks at is the process's own, and before the gate, so that a
// missing program is an error of `create`. Its error is a *LookupError.
//
// The program is executed by this path and not by a descriptor: a script's
// interpreter has to be able to open it again, and programs look at their own
// name. What the container does to the path in between, it does to itself.
func (p *Plan) Resolve(rootfd int) (Exec, error) {
	defer trace.Begin("look for the program").End()
	env := p.Env
	if _, ok := lookup(env, "HOME"); !ok {
		env = append(env[:len(env):len(env)], "HOME="+home(rootfd, p.UID))
	}
	path, err := p.find(rootfd)
	if err != nil {
		return Exec{}, err
	}
	return Exec{Path: path, Argv: p.Args, Env: env}, nil
}

// find looks for args[0] as execvp(3) does.
func (p *Plan) find(rootfd int) (string, error) {
	file := p.Args[0]
	if strings.Contains(file, "/") {
		if errno := p.executable(rootfd, file); errno != 0 {
			return "", p.LookupError(errno)
		}
		return file, nil
	}
	denied := false
	for _, path := range p.Candidates() {
		switch errno := p.executable(rootfd, path); errno {
		case 0:
			return path, nil
		case unix.EACCES:
			denied = true
		}
	}
	if denied {
		return "", p.LookupError(unix.EACCES)
	}
	return "", p.LookupError(unix.ENOENT)
}

// LookupError is the error of who has looked for the program in vain; for one that
// is looked for in $PATH the errno is ENOENT, or EACCES if there is one that
// may not be executed.
func (p *Plan) LookupError(errno unix.Errno) *LookupError {
	file, problem := p.Args[0], errno.Error()
	switch {
	case !strings.Contains(file, "/") && errno == unix.ENOENT:
		problem = "executable file not found in $PATH"
	case errno == unix.ENOENT || errno == unix.ENOTDIR:
		problem = "stat " + file + ": " + problem
	case errno == unix.ELOOP:
		problem += " (a loop, or a link of /proc that leads elsewhere)"
	}
	return &LookupError{file, problem, errno}
}

// Candidates returns the paths at which args[0] may be, in execvp(3)'s order.
func (p *Plan) Candidates() []string {
	file := p.Args[0]
	if strings.Contains(file, "/") {
		return []string{file}
	}
	list, ok := lookup(p.Env, "PATH")
	if !ok {
		list = defaultPath
	}
	var paths []string
	for dir := range strings.SplitSeq(list, ":") {
		if dir == "" {
			dir = "." // execvp: the working directory
		}
		paths = append(paths, dir+"/"+file)
	}
	return paths
}

// executable returns 0 if the calling thread may execute the file, else why
// not. Magic links of procfs are refused: /proc/self/exe is gourd itself here.
func (p *Plan) executable(rootfd int, path string) unix.Errno {
	if !strings.HasPrefix(path, "/") {
		path = p.Cwd + "/" + path
	}
	fd, err := linux.OpenInRoot(rootfd, path, unix.O_PATH, 0)
	if err != nil {
		return errno(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errno(err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return unix.EACCES // as execve(2)
	}
	return mayExecute(fd, &st)
}

// mayExecute asks the kernel with the effective ids and capabilities; it also
// knows of ACLs and of noexec mounts.
func mayExecute(fd int, st *unix.Stat_t) unix.Errno {
	err := unix.Faccessat2(fd, "", unix.X_OK, unix.AT_EACCESS|unix.AT_EMPTY_PATH)
	if err == unix.ENOSYS || err == unix.EPERM { // before Linux 5.8, or filtered: let the execve tell
		if st.Mode&0o111 == 0 {
			return unix.EACCES
		}
		return 0
	}
	return errno(err)
}

func errno(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}
