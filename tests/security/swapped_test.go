package security

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// trap makes a directory "t" in a volume, and beside it "evil", a symlink to
// the victim, to be swapped with it.
func (l *lab) trap(vol string) {
	l.must(os.Mkdir(vol+"/t", 0o755))
	l.must(os.Symlink(victim, vol+"/evil"))
}

// swappedMountTarget: the destination of a mount, on a volume that another
// container has too, was checked, and was a symlink to the host when it was
// used.
func swappedMountTarget(l *lab) {
	b := l.bundle("b", "say", "ran")
	vol := b.volume("vol", "/vol")
	l.trap(vol)
	l.write(scratch+"/src/file", "source")
	for range 20 {
		b.tmpfs("/vol/t").bind(scratch+"/src", "/vol/t")
	}
	b.createRuntime("escaped", victim)
	b.mustRun() // without the race it runs
	l.swapping(vol, "t", "evil", func() {
		for range 2 * rounds {
			// It may fail when it loses the race, but not escape.
			if r := b.run(); strings.Contains(r.err, "escaped") {
				l.Fatalf("a mount is on the host's directory:\n%s", r.err)
			}
		}
	})
}

// swappedWhileMaking: directories and files for mounts were made on the host.
func swappedWhileMaking(l *lab) {
	b := l.bundle("b", "say", "ran")
	vol := b.volume("vol", "/vol")
	l.trap(vol)
	l.write(scratch+"/src/file", "source")
	for i := range 20 {
		b.tmpfs(fmt.Sprintf("/vol/t/dir%d/deep", i)).bind(scratch+"/src/file", fmt.Sprintf("/vol/t/deep%d/file", i))
	}
	t, err := os.OpenRoot(vol + "/t") // whatever its name is by then
	l.must(err)
	defer t.Close()
	clear := func() { // so that all is to be made again
		for i := range 20 {
			t.RemoveAll(fmt.Sprintf("dir%d", i))
			t.RemoveAll(fmt.Sprintf("deep%d", i))
		}
	}
	b.mustRun() // without the race it runs
	clear()
	l.swapping(vol, "t", "evil", func() {
		for range 2 * rounds {
			b.run()
			l.untouched()
			clear()
		}
	})
}

// corePattern is a file that no container may write to.
const corePattern = "/proc/sys/kernel/core_pattern"

// swappedNull: /dev/null was replaced while paths were being masked with it.
func swappedNull(l *lab) {
	l.write(scratch+"/src/file", "not to be seen")
	base := func(name string) *bundle {
		b := l.bundle(name, "look", "/secret", "/proc/timer_list").without("/dev").bind(scratch+"/src/file", "/secret")
		b.spec.Linux.MaskedPaths = []string{"/secret", "/proc/timer_list"}
		b.spec.Linux.ReadonlyPaths = nil
		return b
	}
	// At the worst moment: when the mounts are made, and nothing is masked.
	for i, fake := range [][2]string{{"symlink", corePattern}, {"symlink", "zero"}, {"symlink", "/dev/missing"}, {"file", "fake"}, {"zero", ""}} {
		b := base(fmt.Sprintf("b%d", i))
		b.createRuntime("replace", b.root+"/dev/null", fake[0], fake[1])
		b.mustRefuse(fmt.Sprintf("/dev/null is %s %s", fake[0], fake[1]), "/dev/null")
	}
	// At any moment.
	b := base("race")
	b.mustRun() // makes the node
	l.must(os.Symlink(corePattern, b.root+"/dev/evil"))
	ran := 0
	l.swapping(b.root+"/dev", "null", "evil", func() {
		for range 3 * rounds {
			r := b.run()
			if r.code != 0 {
				continue
			}
			ran++
			for _, p := range b.spec.Linux.MaskedPaths {
				at := strings.Index(r.out, p+": ")
				if line, _, _ := strings.Cut(r.out[max(at, 0):], "\n"); at < 0 || !strings.HasSuffix(line, " char 1:3") {
					l.Fatalf("%s is not masked with the null device:\n%s", p, r.out)
				}
			}
		}
	})
	l.Logf("%d of %d containers ran", ran, 3*rounds)
}

// swappedReadonlyPath: a path was replaced between being mounted on itself and
// being made read-only, and stayed writable; or what was masked was the host's.
func swappedReadonlyPath(l *lab) {
	b := l.bundle("b", "look", "/vol/t", "/vol/evil", "/vol/f", "/vol/g")
	vol := b.volume("vol", "/vol")
	l.must(os.Mkdir(vol+"/t", 0o755))
	l.must(os.Symlink("/tmp", vol+"/evil"))
	b.createRuntime("escaped", victim)
	b.spec.Linux.MaskedPaths = nil
	b.spec.Linux.ReadonlyPaths = nil
	b.spec.Linux.ReadonlyPaths = []string{"/vol/t"}
	b.play("mounts")
	l.swapping(vol, "t", "evil", func() {
		for range 2 * rounds {
			r := b.run()
			if r.code != 0 {
				continue
			}
			made := 0
			for line := range strings.Lines(r.out) {
				f := strings.Fields(line)
				if len(f) < 6 || f[4] != "/vol/t" && f[4] != "/vol/evil" && f[4] != "/tmp" {
					continue
				}
				made++
				if f[5] != "ro" && !strings.HasPrefix(f[5], "ro,") {
					l.Fatalf("mounted and left writable: %s\n%s", line, r.out)
				}
			}
			if made != 1 {
				l.Errorf("%d mounts are seen, want one:\n%s", made, r.out)
			}
		}
	})
	// Masked and read-only paths through a symlink that climbs stay inside.
	inBoth(victim, func(kind, target string) {
		b := l.bundle(kind, "look", victim+"/secret", victim)
		l.must(os.Symlink(target, b.root+"/link"))
		l.write(b.root+victim+"/secret", "of the image")
		b.spec.Linux.MaskedPaths = []string{"/link/secret"}
		b.spec.Linux.ReadonlyPaths = []string{"/link"}
		out := b.mustRun()
		if !strings.Contains(out, "secret: fs 0x1021994 char 1:3\n") || strings.Contains(out, "writable") {
			l.Errorf("%s: want the image's directory masked and read-only:\n%s", kind, out)
		}
		if strings.Contains(out, "of the") {
			l.Errorf("%s: not masked:\n%s", kind, out)
		}
	})
}

// swappedConsole: the terminal's file, or /dev/console, was replaced while it
// was being mounted, so that the container had something of the host's.
func swappedConsole(l *lab) {
	socket := scratch + "/console.sock"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	l.must(err)
	defer unix.Close(fd)
	l.must(unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	l.must(unix.Listen(fd, 128))
	l.must(unix.SetNonblock(fd, true))
	out := scratch + "/out"
	l.must(os.Mkdir(out, 0o755))
	base := func(name string) *bundle {
		b := l.bundle(name, "console", "/out/said").bind(out, "/out")
		b.spec.Process.Terminal = true
		return b
	}
	// bring runs it; the terminals that come are closed again.
	bring := func(b *bundle) (said string, r result) {
		os.Remove(out + "/said")
		b.save()
		id := "c" + b.dir[strings.LastIndexByte(b.dir, '/')+1:]
		r = l.gourd("run", "--detach", "--console-socket", socket, "--bundle", b.dir, id)
		if r.code == 0 {
			l.waitFile(out + "/said")
			said = l.read(out + "/said")
			l.must(ignore(l.gourd("delete", "--force", id)))
		}
		for {
			c, _, err := unix.Accept(fd)
			if err != nil {
				return said, r
			}
			unix.Close(c)
		}
	}
	check := func(what, said string) {
		if !strings.HasPrefix(said, "/dev/console: fs 0x1cd1 char 136:") {
			l.Errorf("%s: the console is %q", what, said)
		}
	}
	said, r := bring(base("plain"))
	if r.code != 0 {
		l.Fatalf("a terminal: %s", r.err)
	}
	check("plain", said)

	// /dev/console of the image is a symlink; nothing is mounted on /dev.
	for i, to := range []string{victim + "/secret", corePattern, climb[1:] + victim + "/secret"} {
		b := base(fmt.Sprintf("link%d", i)).without("/dev")
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666"}})
		l.must(os.Symlink(to, b.root+"/dev/console"))
		if said, r := bring(b); r.code == 0 {
			l.Errorf("/dev/console -> %s: ran, and the console is %q", to, said)
		} else if !strings.Contains(r.err, "/dev/console") {
			l.Errorf("/dev/console -> %s: refused, but not for it:\n%s", to, r.err)
		}
	}
	// /dev/pts is the image's own, with a ptmx that is the host's.
	b := base("pts").without("/dev")
	l.must(os.MkdirAll(b.root+"/dev/pts", 0o755))
	l.must(unix.Mknod(b.root+"/dev/pts/ptmx", unix.S_IFCHR|0o666, int(unix.Mkdev(5, 2))))
	if said, r := bring(b); r.code == 0 {
		l.Errorf("a terminal of an image's ptmx: ran, and the console is %q", said)
	} else if !strings.Contains(r.err, "devpts") {
		l.Errorf("a terminal of an image's ptmx: refused, but not for it:\n%s", r.err)
	}
	// Something lies over the ptmx.
	b = base("covered")
	b.createRuntime("cover", "/dev/null", b.root+"/dev/pts/ptmx")
	if said, r := bring(b); r.code == 0 {
		l.Errorf("a covered ptmx: ran, and the console is %q", said)
	}
	// /dev/console is a file at one moment and a symlink at the next.
	b = base("race").without("/dev")
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666"}})
	l.write(b.root+"/dev/console", "")
	l.must(os.Symlink(victim+"/secret", b.root+"/dev/evil"))
	l.write(b.root+victim+"/secret", "")
	ran := 0
	l.swapping(b.root+"/dev", "console", "evil", func() {
		for range rounds {
			said, r := bring(b)
			// What the container finds at /dev/console may be the symlink by
			// then: what counts is where the terminal was not mounted.
			if r.code == 0 {
				ran++
			}
			if strings.Contains(said, victim) {
				l.Fatalf("the terminal is mounted on the symlink's target:\n%s", said)
			}
		}
	})
	l.Logf("%d of %d containers ran", ran, rounds)
}

// ignore turns a result into an error.
func ignore(r result) error {
	if r.code != 0 {
		return fmt.Errorf("exit code %d: %s", r.code, r.err)
	}
	return nil
}

// redirectedSysctl: a write to a file of /proc/sys was led to another one, by
// mounts that a race had put there.
func redirectedSysctl(l *lab) {
	l.write(scratch+"/fake/domainname", "")
	b := l.bundle("b", "look", "/proc/sys/kernel/domainname")
	b.spec.Linux.Sysctl = map[string]string{"kernel.domainname": "of.the.config"}
	b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths = nil, nil
	b.createRuntime("cover", scratch+"/fake/domainname", b.root+"/proc/sys/kernel/domainname")
	b.play("domain")
	if out := b.mustRun(); out != "of.the.config\n" {
		l.Errorf("the sysctl was not set: %q", out)
	}
	if got := l.read(scratch + "/fake/domainname"); got != "" {
		l.Errorf("the sysctl was written elsewhere: %q", got)
	}
	// The whole directory leads to a more dangerous one.
	b = l.bundle("dir", "domain")
	b.spec.Linux.Sysctl = map[string]string{"kernel.domainname": "of.the.config"}
	b.createRuntime("cover", scratch+"/fake", b.root+"/proc/sys/kernel")
	if out := b.mustRun(); out != "of.the.config\n" {
		l.Errorf("the sysctl was not set: %q", out)
	}
	if got := l.read(scratch + "/fake/domainname"); got != "" {
		l.Errorf("the sysctl was written elsewhere: %q", got)
	}
	// A mount, on a volume that is shared, goes into /proc by a symlink.
	b = l.bundle("volume", "say", "ran")
	vol := b.volume("vol", "/vol")
	b.tmpfs("/vol/t")
	l.must(os.Symlink("/proc/sys/kernel", vol+"/t"))
	b.mustRefuse("a mount on a symlink into /proc/sys", "/proc")
	l.must(os.Remove(vol + "/t"))
	l.must(os.Mkdir(vol+"/t", 0o755))
	l.must(os.Symlink("/proc/sys/kernel", vol+"/evil"))
	b.play("mounts")
	l.swapping(vol, "t", "evil", func() {
		for range 2 * rounds {
			if r := b.run(); strings.Contains(r.out, " /proc/sys/kernel ") {
				l.Fatalf("a mount went into /proc:\n%s", r.out)
			}
		}
	})
}

// masks: what the config masks cannot be read, and what it makes read-only not
// be written, with the runtime's own example.
func masks(l *lab) {
	b := l.bundle("b")
	role := append([]string{"look"}, b.spec.Linux.MaskedPaths...)
	out := b.play(append(role, b.spec.Linux.ReadonlyPaths...)...).caps(everyCap...).mustRun()
	seen := 0
	for line := range strings.Lines(out) {
		path, is, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if strings.Contains(is, "no such file") || path == "ran" {
			continue
		}
		seen++
		masked := false
		for _, m := range b.spec.Linux.MaskedPaths {
			masked = masked || m == path
		}
		if masked && !strings.HasSuffix(is, " char 1:3") && !strings.HasSuffix(is, " dir 0") {
			l.Errorf("not masked: %s", line)
		}
		if strings.Contains(is, "writable") {
			l.Errorf("not read-only: %s", line)
		}
	}
	if seen < 5 {
		l.Errorf("hardly anything of it is there:\n%s", out)
	}
}
