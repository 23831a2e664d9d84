package credentials

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// compileEnv checks the environment and keeps the last of the entries with the
// same name, in its place: which one a program would see is otherwise up to
// its C library. An empty HOME counts as none.
func compileEnv(env []string, d *defect.List) []string {
	for i, e := range env {
		switch {
		case strings.IndexByte(e, '=') < 1:
			d.Add(fmt.Sprintf("process.env[%d]", i), "%q is not of the form NAME=VALUE", e)
		case strings.IndexByte(e, 0) >= 0:
			d.Add(fmt.Sprintf("process.env[%d]", i), "%q has a NUL byte in it", e)
		}
	}
	out := make([]string, 0, len(env)+1)
	seen := make(map[string]struct{}, len(env))
	for _, e := range slices.Backward(env) {
		name, value, _ := strings.Cut(e, "=")
		if _, dup := seen[name]; dup {
			continue
		}
		seen[name] = struct{}{}
		if name != "HOME" || value != "" {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// lookup returns the value of a variable, "" and false when there is none.
func lookup(env []string, name string) (string, bool) {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// maxPasswd is how much of /etc/passwd is read, in bytes: the image decides
// how large it is.
const maxPasswd = 1 << 20

// defaultHome is what HOME is when the container does not tell.
const defaultHome = "/"

// HasHome is whether the environment tells what HOME is.
func (p *Plan) HasHome() bool {
	_, told := lookup(p.Env, "HOME")
	return told
}

// Home returns what HOME is to be in a container whose root directory root is,
// where the environment does not tell; "" where it does. ok is false if only the
// container's user can know, with its own rights.
func (p *Plan) Home(root int) (dir string, ok bool) {
	if p.HasHome() {
		return "", true
	}
	fd, err := linux.OpenInRoot(root, "/etc/passwd", unix.O_PATH, 0)
	if err == unix.ENOENT {
		return defaultHome, true
	}
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	const worldReadable = 0o004
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&worldReadable == 0 {
		return "", false
	}
	return home(root, p.UID), true
}

// home returns the home directory of a user by the /etc/passwd of the
// container, read with the user's own rights; "/" when it cannot be known.
// Nothing else is taken from that file, least of all an id (CVE-2016-3697).
func home(root int, uid uint32) string {
	// O_NONBLOCK: the image may have a FIFO there.
	fd, err := linux.OpenInRoot(root, "/etc/passwd", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return defaultHome
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return defaultHome
	}
	buf := make([]byte, min(max(st.Size, 0), maxPasswd))
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			break
		}
		n += m
	}
	return homeIn(buf[:n], uid)
}

// homeIn returns the home directory of the first well-formed entry of a user
// (passwd(5)), "/" when there is none or it has no absolute path.
func homeIn(passwd []byte, uid uint32) string {
	want := strconv.FormatUint(uint64(uid), 10)
	for line := range bytes.Lines(passwd) {
		f := bytes.Split(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		if len(f) != 7 || string(f[2]) != want {
			continue
		}
		if h := string(f[5]); strings.HasPrefix(h, "/") && strings.IndexByte(h, 0) < 0 {
			return h
		}
		return defaultHome
	}
	return defaultHome
}
