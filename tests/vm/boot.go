package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A boot is one life of a machine.
type boot struct {
	machine machine
	payload string // the second disk's image
	accel   string // "tcg" or "kvm"
	selinux bool   // SELinux instead of AppArmor
	dir     string // for the console's log and QEMU's own files
	limit   time.Duration
}

// errMachine is why a machine's results cannot be trusted, or are not there.
type errMachine struct {
	why     string
	console string // its last lines
}

func (e *errMachine) Error() string {
	return fmt.Sprintf("%s\n--- the end of the console:\n%s", e.why, e.console)
}

// panicked tells whether the machine's kernel gave up. Emulated, it does so now
// and then through no fault of what it runs.
func (e *errMachine) panicked() bool { return strings.Contains(e.console, "Kernel panic") }

// console is the file that the machine's console is written to.
func (b boot) console() string {
	if b.selinux {
		return filepath.Join(b.dir, "console-selinux.log")
	}
	return filepath.Join(b.dir, "console.log")
}

// args is QEMU's command line. Both disks take writes, and lose them at the end.
//
// cx16 is hidden because Debian's kernel 6.12 panics with it under
// multi-threaded emulation (QEMU 7.2). The timer is not to be tested, for on a busy
// machine its ticks come too late for that. The kernel's own huge pages are for the
// tests of that controller.
func (b boot) args() []string {
	cpu := []string{"-accel", "tcg,thread=multi", "-cpu", "max,-cx16"}
	if b.accel == "kvm" {
		cpu = []string{"-accel", "kvm", "-cpu", "host"}
	}
	words := "root=/dev/vda rw console=ttyS0 no_timer_check quiet loglevel=4 panic=-1 hugepages=16 systemd.show_status=1 systemd.log_color=0 TERM=dumb mitigations=off"
	if b.selinux {
		words += " security=selinux selinux=1"
	}
	return append(cpu,
		"-smp", "2", "-m", "2048",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", b.machine.kernel(), "-initrd", b.machine.initrd(),
		"-append", words,
		"-drive", "if=virtio,format=raw,snapshot=on,file="+b.machine.disk(),
		"-drive", "if=virtio,format=raw,snapshot=on,file="+b.payload,
		"-serial", "file:"+b.console(),
		"-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci",
		"-chardev", "stdio,id=report,signal=off",
		"-device", "virtserialport,chardev=report,name=report",
	)
}

// run boots the machine, hands each event on, and returns when the machine is
// off. An error is about the machine; that tests failed is in the events.
func (b boot) run(each func(event)) error {
	ctx, cancel := context.WithTimeout(context.Background(), b.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", b.args()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+b.dir) // what the disks' snapshots are kept in
	var said bytes.Buffer
	cmd.Stderr = &said
	// Nothing is written to it, but at its end QEMU would take the report's
	// reader for gone.
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	last, ended := event{}, false
	readErr := readEvents(out, func(e event) {
		last, ended = e, e.Step == allEnded
		each(e)
	})
	waitErr := cmd.Wait()
	why := ""
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		why = fmt.Sprintf("the machine was ended after %v; it last said %s", b.limit, last)
	case readErr != nil:
		why = "read the machine's report: " + readErr.Error()
	case waitErr != nil:
		why = fmt.Sprintf("QEMU: %v: %s", waitErr, said.String())
	case !ended:
		why = fmt.Sprintf("the machine went off before all was run; it last said %s", last)
	default:
		return nil
	}
	return &errMachine{why, tail(b.console(), 60)}
}

// String shows an event in a message.
func (e event) String() string {
	switch {
	case e.Step == "":
		return "nothing"
	case e.Ended:
		return fmt.Sprintf("%s: ended with %d %s", e.Step, e.Exit, e.Error)
	}
	return fmt.Sprintf("%s: %q", e.Step, e.Output)
}

// readEvents hands on each event of r until its end.
func readEvents(r io.Reader, each func(event)) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if jerr := json.Unmarshal(line, &e); jerr != nil {
				_, cerr := io.Copy(io.Discard, r) // so that the machine can end
				return errors.Join(fmt.Errorf("%w in %q", jerr, line), cerr)
			}
			each(e)
		}
		if err == io.EOF || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tail returns the last lines of a file, without what only a terminal
// understands.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(plainText(string(data))), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// plainText removes control characters and escape sequences.
func plainText(s string) string {
	var out strings.Builder
	escape := false
	for _, c := range s {
		switch {
		case c == 0x1b:
			escape = true
		case escape:
			// A sequence ends with a letter; "[" only opens one.
			escape = c == '[' || c == '?' || c == ';' || c >= '0' && c <= '9'
		case c == '\n' || c >= ' ':
			out.WriteRune(c)
		}
	}
	return out.String()
}
