package security

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// inBoth calls f with the symlink target that names a path of the host
// absolutely, and with the one that climbs there.
func inBoth(path string, f func(kind, target string)) {
	f("absolute", path)
	f("climbing", climb[1:]+path) // "./../…": relative
}

// symlinkedDestination: a symlink of the image led a mount, and what was made
// for it, out of the root.
func symlinkedDestination(l *lab) {
	inBoth(victim, func(kind, target string) {
		b := l.bundle(kind, "look", "/link/made", "/link/bound/file", victim+"/made")
		l.must(os.Symlink(target, b.root+"/link"))
		l.write(scratch+"/src/file", "source")
		b.tmpfs("/link/made").bind(scratch+"/src", "/link/bound").createRuntime("escaped", victim)
		b.spec.Process.Cwd = "/link/cwd"
		major, minor := int64(1), int64(3)
		b.spec.Linux.Devices = append(b.spec.Linux.Devices, specs.LinuxDevice{Path: "/link/null", Type: "c", Major: major, Minor: minor})
		out := b.mustRun()
		for _, want := range []string{"/link/made: fs 0x1021994 dir 0", `/link/bound/file: fs 0x1021994 file "source"`, victim + "/made: fs 0x1021994 dir 1"} {
			if !strings.Contains(out, want) {
				l.Errorf("%s: want %q in:\n%s", kind, want, out)
			}
		}
		l.untouched()
	})
}

// fakeTree makes what a runtime would write labels and limits to.
func (l *lab) fakeTree(dir string) {
	for _, f := range []string{"self/attr/exec", "self/attr/apparmor/exec", "thread-self/attr/exec", "sys/kernel/domainname", "self/oom_score_adj"} {
		l.write(dir+"/"+f, "")
	}
}

// fakeProc: a volume on /proc, or on a file there, took the label that was
// written for the process, which then ran without one.
func fakeProc(l *lab) {
	l.fakeTree(scratch + "/fake")
	for _, on := range []string{"/proc", "/proc/self", "/proc/self/attr", "/proc/thread-self/attr/exec", "/proc/sys", "/proc/1", "//proc/.", "/tmp/../proc/self"} {
		source := scratch + "/fake"
		if strings.HasSuffix(on, "exec") {
			source += "/self/attr/exec"
		}
		l.bundle(fmt.Sprintf("bind%d", l.runs), "say", "ran").bind(source, on).mustRefuse("a bind mount on "+on, "proc")
		if !strings.HasSuffix(on, "exec") {
			l.bundle(fmt.Sprintf("tmpfs%d", l.runs), "say", "ran").tmpfs(on).mustRefuse("a tmpfs on "+on, "proc")
		}
	}
	// Round about: by symlinks of the image.
	for link, target := range map[string]string{"/p": "/proc", "/a": "/proc/self/attr"} {
		b := l.bundle(fmt.Sprintf("link%d", l.runs), "say", "ran").bind(scratch+"/fake", link)
		l.must(os.Symlink(target, b.root+link))
		b.mustRefuse("a mount on "+link+", a symlink to "+target, "/proc")
	}
	// A file of the image where there is no procfs: whatever it is, nothing
	// may be written to it.
	b := l.bundle("none", "look", "/proc/sys/kernel/domainname", "/proc/self/oom_score_adj").without("/proc")
	l.fakeTree(b.root + "/proc")
	b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths = nil, nil
	score := 500
	b.spec.Process.OOMScoreAdj = &score
	b.spec.Linux.Sysctl = map[string]string{"kernel.domainname": "of.the.config"}
	out := b.mustRun()
	for _, f := range b.spec.Process.Args[3:] {
		if !strings.Contains(out, f+`: fs 0x1021994 file ""`) {
			l.Errorf("a fake file was written to:\n%s", out)
		}
	}
	if _, err := os.Lstat("/sys/module/apparmor"); err == nil {
		b.spec.Process.ApparmorProfile = "a-profile-that-nobody-has-loaded"
		b.play("say", "ran").mustRefuse("a profile that the fake /proc would take", "apparmor")
	}
}

// symlinkedProcInVolume: two containers share a volume, and /proc of the image
// leads into it.
func symlinkedProcInVolume(l *lab) {
	for _, target := range []string{"/vol/proc", "vol/proc", "/vol/missing"} {
		for _, on := range []string{"/proc", "/sys"} {
			b := l.bundle(fmt.Sprintf("b%d", l.runs), "say", "ran")
			vol := scratch + "/vol"
			l.fakeTree(vol + "/proc")
			mounts := b.spec.Mounts
			b.spec.Mounts = nil
			b.bind(vol, "/vol")
			b.spec.Mounts = append(b.spec.Mounts, mounts...)
			l.must(os.Remove(b.root + on))
			l.must(os.Symlink(target, b.root+on))
			b.mustRefuse(on+" -> "+target, "symlink")
		}
	}
	// /proc is a directory at one moment and a symlink at the next.
	b := l.bundle("race", "mounts")
	l.must(os.Mkdir(b.root+"/fake", 0o755))
	l.fakeTree(b.root + "/fake")
	l.must(os.Symlink("/fake", b.root+"/evil"))
	ran := 0
	l.swapping(b.root, "proc", "evil", func() {
		for range 2 * rounds {
			r := b.run()
			if r.code == 0 {
				ran++
			}
			// The mount goes with the directory when that is renamed later.
			if strings.Contains(r.out, " /fake ") {
				l.Fatalf("the procfs is where the symlink leads:\n%s", r.out)
			}
		}
	})
	l.Logf("%d of %d containers ran", ran, 2*rounds)
}

// symlinkedProc: the same, once more, by the symlink alone.
func symlinkedProc(l *lab) {
	for _, on := range []string{"/proc", "/sys"} {
		inBoth(victim, func(kind, target string) {
			for _, to := range []string{target, target + "/missing", "/tmp", "tmp", "/"} {
				b := l.bundle(fmt.Sprintf("b%d", l.runs), "say", "ran")
				l.must(os.Remove(b.root + on))
				l.must(os.Symlink(to, b.root+on))
				b.mustRefuse(on+" -> "+to, "symlink")
			}
		})
	}
}

// symlinkedProcBound: /proc of the image is a symlink, and the config binds
// the host's.
func symlinkedProcBound(l *lab) {
	for _, on := range []string{"/proc", "/sys"} {
		b := l.bundle("b"+on[1:], "say", "ran").without(on)
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: on, Type: "bind", Source: on, Options: []string{"rbind"}})
		l.must(os.Remove(b.root + on))
		l.must(os.Symlink("/tmp", b.root+on))
		b.mustRefuse(on+" -> /tmp, bound", "symlink")
	}
	// What is bound on /proc is no procfs, or a part of one.
	l.fakeTree(scratch + "/fake")
	b := l.bundle("fake", "say", "ran").without("/proc").bind(scratch+"/fake", "/proc")
	b.mustRefuse("a directory bound on /proc", "procfs")
	for i, part := range []string{"/proc/tty", "/proc/1", "/proc/self/task"} {
		b := l.bundle(fmt.Sprintf("part%d", i), "say", "ran").without("/proc").bind(part, "/proc")
		b.mustRefuse(part+" bound on /proc", "procfs")
	}
	// Nor is what is on /sys a sysfs.
	b = l.bundle("fakesys", "say", "ran").without("/sys").bind(scratch+"/fake", "/sys")
	b.mustRefuse("a directory bound on /sys", "sysfs")
	b = l.bundle("tmpsys", "say", "ran").without("/sys").tmpfs("/sys")
	b.mustRefuse("a tmpfs on /sys", "sysfs")
}

// symlinkedRootfs: /proc, /sys or the root filesystem itself is a symlink.
func symlinkedRootfs(l *lab) {
	symlinkedProc(l)
	b := l.bundle("b", "say", "ran")
	l.must(os.Symlink("rootfs", b.dir+"/same"))
	l.must(os.Symlink(victim, b.dir+"/host"))
	l.must(os.Symlink("/", b.dir+"/top"))
	for _, path := range []string{"same", "host", "top", "top" + victim, b.dir + "/same", b.dir + "/top/run/lab/victim"} {
		b.spec.Root.Path = path
		b.mustRefuse("root.path "+path, "symlink")
	}
	// Swapped while it is looked at: it is the one directory or nothing.
	b = l.bundle("race", "look", victim+"/secret")
	l.must(os.Symlink("/", b.dir+"/evil"))
	l.swapping(b.dir, "rootfs", "evil", func() {
		for range 2 * rounds {
			if r := b.run(); strings.Contains(r.out, "of the host") {
				l.Fatalf("the root filesystem was the host's:\n%s", r.out)
			}
		}
	})
}

// symlinkedDev: /dev of the image led to the host, and was used before the
// root was changed.
func symlinkedDev(l *lab) {
	inBoth(victim, func(kind, target string) {
		for _, mounted := range []bool{false, true} {
			b := l.bundle(fmt.Sprintf("%s-%v", kind, mounted), "look", "/dev/null", "/proc/timer_list")
			if !mounted {
				b.without("/dev")
			}
			b.createRuntime("escaped", victim)
			l.must(os.Remove(b.root + "/dev"))
			l.must(os.Symlink(target, b.root+"/dev"))
			// It is no harm to run, as long as all of it is inside.
			if r := b.run(); r.code == 0 {
				for _, want := range []string{"/dev/null: ", "/proc/timer_list: "} {
					if at := strings.Index(r.out, want); at < 0 || !strings.Contains(r.out[at:], " char 1:3") {
						l.Errorf("%s: want %q to be the null device in:\n%s", kind, want, r.out)
					}
				}
			}
			l.untouched()
		}
	})
	// A device, or /dev/console, is such a symlink.
	b := l.bundle("node", "say", "ran").without("/dev")
	l.must(os.Symlink(victim+"/null", b.root+"/dev/null"))
	b.mustRefuse("/dev/null is a symlink", "/dev/null")
}
