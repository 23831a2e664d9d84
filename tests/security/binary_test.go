package security

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// rounds is how often what depends on luck is tried.
const rounds = 12

// every is all that a container may be given and not own its host by itself.
var everyCap = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_MKNOD", "CAP_SETFCAP",
}

// script is a program whose interpreter is what executes it.
const script = "#!/proc/self/exe\n"

// interpreted returns an ELF program whose interpreter is what executes it.
func interpreted() []byte {
	machine := uint16(62) // EM_X86_64
	switch runtime.GOARCH {
	case "arm64":
		machine = 183
	case "riscv64":
		machine = 243
	}
	const interp = "/proc/self/exe\x00"
	const head, part = 64, 56
	var b bytes.Buffer
	put := func(v ...any) {
		for _, x := range v {
			binary.Write(&b, binary.LittleEndian, x)
		}
	}
	size := uint64(head + 2*part + len(interp))
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	put(uint16(3), machine, uint32(1), uint64(head), uint64(head), uint64(0), uint32(0),
		uint16(head), uint16(part), uint16(2), uint16(0), uint16(0), uint16(0))
	put(uint32(3), uint32(4), uint64(head+2*part), uint64(head+2*part), uint64(0), uint64(len(interp)), uint64(len(interp)), uint64(1))
	put(uint32(1), uint32(5), uint64(0), uint64(0), uint64(0), size, size, uint64(4096))
	b.WriteString(interp)
	return b.Bytes()
}

// evil puts both programs into the image.
func evil(b *bundle) []string {
	b.l.must(os.WriteFile(b.root+"/script", []byte(script), 0o755))
	b.l.must(os.WriteFile(b.root+"/elf", interpreted(), 0o755))
	return []string{"/script", "/elf", "/proc/self/exe"}
}

// overwriteRuntime: the container executes the runtime's own binary, and
// another of its processes opens /proc/PID/exe and writes there.
func overwriteRuntime(l *lab) {
	before := sha256.Sum256([]byte(l.read(l.runtime)))
	unchanged := func(when string) {
		if sha256.Sum256([]byte(l.read(l.runtime))) != before {
			l.Fatalf("the runtime's binary was overwritten: %s", when)
		}
	}
	ended := func(when, out string) {
		l.write(out+"/stop", "")
		l.waitFile(out + "/done")
		if written, err := os.ReadFile(out + "/written"); err == nil {
			l.Errorf("%s: something was written to: %q", when, written)
		}
		unchanged(when)
		if _, err := os.Lstat(out + "/seized"); err != nil {
			l.Skip(when + ": the attack never saw the runtime's binary: nothing is shown")
		}
	}

	// A process that a hook leaves behind has got hold of init's binary.
	b := l.bundle("hook", "wait").caps(everyCap...)
	out := b.volume("hook-out", "/out")
	b.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/self", Args: []string{"self", "play", "seize-hook", "/out"}}}}
	c := b.start()
	l.waitFile(out + "/ready")
	ended("a startContainer hook", out)
	c.end()

	// Containers that come into the attacker's pid namespace.
	b = l.bundle("attacker", "seize", "/out").caps(everyCap...)
	out = b.volume("out", "/out")
	attacker := b.start()
	defer attacker.end()
	l.waitFile(out + "/ready")
	guest := l.bundle("guest").joinPID(attacker.pid)
	for range rounds {
		for _, program := range evil(guest) {
			guest.spec.Process.Args = []string{program}
			guest.run()
			unchanged("run " + program)
			// What waits between create and start is executed from another file.
			if l.gourd("create", "--bundle", guest.dir, "cguest").code == 0 {
				l.gourd("start", "cguest")
				unchanged("start of " + program)
				l.gourd("delete", "--force", "cguest")
			}
		}
	}
	for range rounds {
		for _, program := range evil(b) {
			l.gourd(append(l.exec, attacker.id, program)...)
			unchanged("exec " + program)
		}
	}
	ended("a process in the same pid namespace", out)
}

// hostFilesDuringExec: while an exec was on its way in, the container's root
// saw the files of the host that it had open.
func hostFilesDuringExec(l *lab) {
	// Without CAP_SYS_PTRACE: who has that, in the user namespace of the
	// runtime, is trusted with all of its processes (SECURITY.md).
	b := l.bundle("b", "peep", "/out").caps("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_MKNOD")
	out := b.volume("out", "/out")
	c := b.start()
	defer c.end()
	l.waitFile(out + "/ready")
	host, err := os.Open("/")
	l.must(err)
	defer host.Close()
	for range 3 * rounds {
		if r := c.execBy(caller{extra: []*os.File{host, host}}, nil, "say", "ran"); r.out != "ran\n" {
			l.Fatalf("exec: %s", r.err)
		}
		if r := c.execBy(caller{extra: []*os.File{host, host}}, []string{"--user", "1000:1000"}, "say", "ran"); r.out != "ran\n" {
			l.Fatalf("exec: %s", r.err)
		}
	}
	l.noLeak(out)
}

// noLeak ends a playPeep and checks that it has seen nothing.
func (l *lab) noLeak(out string) {
	l.write(out+"/stop", "")
	l.waitFile(out + "/done")
	if leak, err := os.ReadFile(out + "/leak"); err == nil {
		l.Errorf("the container saw:\n%s", leak)
	}
	if _, err := os.Lstat(out + "/seen"); err != nil {
		l.Skip("the container never saw the runtime: nothing is shown")
	}
}
