package security

import (
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// has checks that a playStatus printed this line.
func (l *lab) has(out, line string) {
	if !strings.Contains("\n"+out, "\n"+line+"\n") {
		l.Errorf("want %q in:\n%s", line, out)
	}
}

// fakePasswd makes the image say that the numbers 1000 and 1 are names of
// root's.
func fakePasswd(b *bundle) {
	b.l.write(b.root+"/etc/passwd", "1000:x:0:0::/root:/self\n1:x:0:0::/root:/self\nroot:x:0:0::/root:/self\n")
	b.l.write(b.root+"/etc/group", "1000:x:0:\n1:x:0:\nroot:x:0:1000,1\n")
}

// numericUser: the image's passwd made uid 1000 into root.
func numericUser(l *lab) {
	b := l.bundle("b", "status").user(1000, 1000)
	fakePasswd(b)
	out := b.mustRun()
	l.has(out, "Uid: 1000 1000 1000 1000")
	l.has(out, "Gid: 1000 1000 1000 1000")
	l.has(out, "Groups:")
	c := b.play("wait").start()
	defer c.end()
	for _, user := range []string{"1000", "1000:1000"} {
		out := c.exec([]string{"--user", user}, "status").out
		l.has(out, "Uid: 1000 1000 1000 1000")
		l.has(out, "Gid: 1000 1000 1000 1000")
		l.has(out, "Groups:")
	}
}

// ambientCapabilities: a user who is not root had ambient capabilities that
// nobody gave it. Here the caller has one, and the config names it in all
// other sets.
func ambientCapabilities(l *lab) {
	b := l.bundle("b", "status").user(1000, 1000).caps("CAP_NET_RAW")
	b.spec.Process.Capabilities.Inheritable = []string{"CAP_NET_RAW"}
	r := b.runBy(caller{attr: &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_RAW}}})
	l.has(r.out, "CapInh: 0000000000002000")
	l.has(r.out, "CapAmb: 0000000000000000")
	l.has(r.out, "CapPrm: 0000000000000000")
	l.has(r.out, "CapEff: 0000000000000000")
	// Where init waits, it takes capabilities over an execve by the ambient set.
	r = b.runInStepsBy(caller{attr: &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_RAW}}})
	l.has(r.out, "CapInh: 0000000000002000")
	l.has(r.out, "CapAmb: 0000000000000000")
	l.has(r.out, "CapPrm: 0000000000000000")
	l.has(r.out, "CapEff: 0000000000000000")

	// The config of an engine that knows of no ambient set.
	b.caps("CAP_NET_RAW", "CAP_CHOWN")
	out := b.mustRun()
	l.has(out, "CapAmb: 0000000000000000")
	l.has(out, "CapEff: 0000000000000000")
}

// inheritableOnRun: containers were started with inheritable capabilities, so
// that files with inheritable file capabilities gave them to users. Here the
// caller has some.
func inheritableOnRun(l *lab) {
	by := caller{attr: &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN}}}
	for _, uid := range []uint32{0, 1000} {
		b := l.bundle("b"+strconv.Itoa(int(uid)), "status").user(uid, uid).caps("CAP_NET_RAW", "CAP_CHOWN")
		check := func(out string) {
			l.has(out, "CapInh: 0000000000000000")
			l.has(out, "CapAmb: 0000000000000000")
			l.has(out, "CapBnd: 0000000000002001")
		}
		check(b.runBy(by).out)
		check(b.runInStepsBy(by).out)
		// With a filter and without no_new_privs init has CAP_SYS_ADMIN.
		b.spec.Process.NoNewPrivileges = false
		b.spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"acct"}, Action: specs.ActErrno},
		}}
		check(b.runBy(by).out)
		out := b.runInStepsBy(by).out
		check(out)
		if uid == 0 {
			l.has(out, "CapPrm: 0000000000002001")
		} else {
			l.has(out, "CapPrm: 0000000000000000")
		}
	}
}

// inheritableOnExec: exec --cap added to the inheritable set.
func inheritableOnExec(l *lab) {
	b := l.bundle("b", "wait").caps("CAP_CHOWN")
	c := b.start()
	defer c.end()
	by := caller{attr: &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN}}}
	for _, flags := range [][]string{nil, {"--cap", "CAP_NET_RAW"}} {
		out := c.execBy(by, flags, "status").out
		l.has(out, "CapInh: 0000000000000000")
		l.has(out, "CapAmb: 0000000000000000")
		out = c.execBy(by, append(flags, "--user", "1000:1000"), "status").out
		l.has(out, "CapInh: 0000000000000000")
		l.has(out, "CapAmb: 0000000000000000")
		l.has(out, "CapEff: 0000000000000000")
	}
}

// execUser: "1", which is no name, became root.
func execUser(l *lab) {
	b := l.bundle("b", "wait").user(1000, 1000)
	fakePasswd(b)
	c := b.start()
	defer c.end()
	for user, want := range map[string]string{"1": "1 1000", "1:1": "1 1", "0:1": "0 1", "4294967294:1": "4294967294 1"} {
		uid, gid, _ := strings.Cut(want, " ")
		out := c.exec([]string{"--user", user}, "status").out
		l.has(out, "Uid: "+strings.TrimSpace(strings.Repeat(uid+" ", 4)))
		l.has(out, "Gid: "+strings.TrimSpace(strings.Repeat(gid+" ", 4)))
	}
	for _, user := range []string{
		"root", "user", "1:", ":1", ":", "1:root", "1:1:1", "+1", "-1", " 1", "1 ", "0x1", "1e0", "١",
		"4294967295", "4294967296", "1:4294967295", "99999999999999999999",
	} {
		if r := c.exec([]string{"--user=" + user}, "say", "ran"); r.code == 0 || r.out != "" {
			l.Errorf("--user %q ran: %s", user, r.out)
		}
	}
	// config.json's way in: an id that means "none" to the kernel.
	b = l.bundle("none", "say", "ran")
	b.spec.Process.User = specs.User{UID: 1<<32 - 1, GID: 1}
	b.mustRefuse("uid -1", "process.user.uid")
}
