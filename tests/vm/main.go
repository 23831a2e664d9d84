package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options are the command line.
type options struct {
	full, host    bool
	gourd         string
	scripts, ways string
	accel         string
	minutes       int
	report, debug string
}

func main() {
	// The machine dies with the thread that started it, so that thread must stay.
	runtime.LockOSThread()
	if len(os.Args) == 2 && os.Args[1] == "guest" {
		if err := guest(); err != nil {
			fmt.Fprintln(os.Stderr, "vm:", err)
			os.Exit(2)
		}
		return
	}
	var o options
	flag.BoolVar(&o.full, "full", false, "run every script, in every way, and not only those marked [vm]")
	flag.BoolVar(&o.host, "host", false, "run every script on this host, without a machine")
	flag.StringVar(&o.gourd, "gourd", "bin/gourd", "the runtime under test, a static binary")
	flag.StringVar(&o.scripts, "scripts", "", "only these scripts, by name, separated by commas (those of SELinux get a boot with it); \"systemd\", \"prepare\", \"conformance\" and \"engines\" are those packages' tests, \"kubernetes\" those with a kubelet (see tests/kubernetes), TestDocker/systemd/docker-run one of an engine's")
	flag.StringVar(&o.ways, "ways", "root", "with --scripts, how they are run: root, userns, rootless, separated by commas")
	flag.StringVar(&o.accel, "accel", "tcg", "QEMU's accelerator: tcg (software) or kvm")
	flag.IntVar(&o.minutes, "minutes", 0, "how long all may take before the machine is taken for hung (default 30, with --full 300)")
	flag.StringVar(&o.report, "report", "", "write the report to this file, too; with --full it goes to docs/results")
	flag.StringVar(&o.debug, "debug", "", "keep the payload, its disk and the console's log in this directory")
	flag.Parse()
	r, err := run(o)
	if r != nil {
		r.tell(os.Stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(2)
	case r.trouble != nil:
		os.Exit(2)
	case r.failed():
		os.Exit(1)
	}
}

// run does what o asks for. The report is nil if it came to none.
func run(o options) (*report, error) {
	repo, err := repository()
	if err != nil {
		return nil, err
	}
	if o.minutes == 0 {
		o.minutes = 30
		if o.full || o.host {
			o.minutes = 300
		}
	}
	if err := check(o); err != nil {
		return nil, err
	}
	all, err := findScripts(filepath.Join(repo, "tests/integration/testdata"))
	if err != nil {
		return nil, err
	}
	dir := o.debug
	if dir == "" {
		if dir, err = os.MkdirTemp("/var/tmp", "gourd-vm-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // with --host, an ordinary user runs what is there
			return nil, err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	p := payload{dir: filepath.Join(dir, "payload"), repo: repo}
	if err := os.RemoveAll(p.dir); err != nil { // of an earlier --debug
		return nil, err
	}
	r := &report{}
	names, pl := choose(o, all, p.dir, r)
	if err := p.pack(o.gourd, pl); err != nil {
		return nil, err
	}
	if err := errors.Join(p.packDebian(o, names), p.packKubernetes(pl), p.packConformance(pl)); err != nil {
		return nil, err
	}
	for _, s := range pl.Steps {
		r.results = append(r.results, &result{step: s})
	}
	if o.host {
		runHere(p.dir, pl, r)
	} else if err := runThere(o, dir, p, r); err != nil {
		return nil, err
	}
	for _, s := range r.results {
		if err := s.read(); err != nil {
			return r, err
		}
	}
	return r, save(o, repo, r)
}

// check finds what is missing before anything is done.
func check(o options) error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root: the tests make containers, and the machine's disk has files of root's")
	}
	if _, err := os.Stat(o.gourd); err != nil {
		return fmt.Errorf("the runtime under test: %w (make build)", err)
	}
	if o.host {
		var st unix.Statfs_t
		if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
			return fmt.Errorf("statfs /sys/fs/cgroup: %w", err)
		}
		if st.Type != unix.CGROUP2_SUPER_MAGIC {
			return errors.New("/sys/fs/cgroup is not cgroup v2 here, so the controllers are not to be had: use make test-vm")
		}
		return needs("jq", "busybox")
	}
	if runtime.GOARCH != "amd64" {
		return errors.New("the machine is for amd64 only; with cgroup v2, make test-host runs the same tests here")
	}
	return needs("qemu-system-x86_64", "mmdebstrap", "mke2fs", "checkpolicy", "umoci", "skopeo")
}

// choose decides which scripts run and how, and puts into the report what is
// left out. Where payload is used in a step it is the payload's place there.
func choose(o options, all scripts, payload string, r *report) ([]string, plan) {
	var pl plan
	var env []string
	if !o.host {
		payload = payloadDir
		env = []string{
			"GOURD_TEST_PATIENCE=10", // emulation is some ten times slower
			"TMPDIR=/var/tmp",        // systemd's /tmp has no devices, and is small
			"XDG_CACHE_HOME=" + payloadDir + "/" + cacheInPayload,
		}
	}
	switch {
	case o.host:
		r.title = "The tests on this host"
	case o.full:
		r.title = "Every test in the virtual machine"
	default:
		r.title = "The tests that need the virtual machine"
	}
	names := all.marked
	switch {
	case o.host: // it has SELinux or not
		names = slices.Concat(all.all(), all.selinux)
	case o.full:
		names = all.all()
	}
	if o.scripts != "" {
		names = strings.Split(o.scripts, ",")
		if i := slices.Index(names, "systemd"); i >= 0 && !o.host {
			names = slices.Delete(names, i, i+1)
			pl.Steps = append(pl.Steps, systemdStep(payload, o.minutes, env...))
		}
		if i := slices.Index(names, "prepare"); i >= 0 && !o.host {
			names = slices.Delete(names, i, i+1)
			pl.Steps = append(pl.Steps, prepareStep(payload, o.minutes, env...))
		}
		if i := slices.Index(names, conformance); i >= 0 && !o.host {
			names = slices.Delete(names, i, i+1)
			pl.Steps = append(pl.Steps, conformanceStep(payload, o.minutes, env...))
		}
		// An engine's test has a slash in its name.
		var engines, kubelet []string
		if !o.host {
			names = slices.DeleteFunc(names, func(n string) bool {
				switch {
				case n == kubernetes || strings.HasPrefix(n, everyKubelet+"/"):
					kubelet = append(kubelet, n)
				case n == "engines" || strings.Contains(n, "/"):
					engines = append(engines, n)
				default:
					return false
				}
				return true
			})
		}
		if len(kubelet) > 0 {
			pattern := strings.ReplaceAll(strings.Join(kubelet, "|"), kubernetes, everyKubelet)
			pl.Steps = append(pl.Steps, kubernetesStep(payload, pattern, o.minutes, env...))
		}
		if len(engines) > 0 {
			pattern := strings.ReplaceAll(strings.Join(engines, "|"), "engines", everyEngine)
			asked := strings.Split(o.ways, ",")
			if slices.Contains(asked, "root") {
				pl.Steps = append(pl.Steps, engineStep(payload, pattern, o.minutes, env...))
			}
			if slices.Contains(asked, "rootless") {
				pl.Steps = append(pl.Steps, userEngineStep(payload, pattern, o.minutes, env...))
			}
		}
		asked := slices.DeleteFunc(ways(), func(w way) bool { return !slices.Contains(strings.Split(o.ways, ","), w.name) })
		var confined []string
		if !o.host {
			confined = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(all.selinux, n) })
			names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(all.selinux, n) })
		}
		for _, w := range asked {
			if len(names) > 0 {
				pl.Steps = append(pl.Steps, w.run(payload, names, o.minutes, env...))
			}
		}
		pl.Steps = append(pl.Steps, selinuxSteps(payload, confined, asked, o.minutes, env...)...)
		names = append(names, confined...)
		r.left = append(r.left, fmt.Sprintf("all but the %d scripts that were asked for", len(names)))
		return names, pl
	}
	little, more := 10, 15
	if o.full { // which has the time that a busy machine takes
		little, more = o.minutes, o.minutes
	}
	pl.Steps = append(pl.Steps, cgroupStep(min(little, o.minutes), env...))
	if !o.host {
		pl.Steps = append(pl.Steps, systemdStep(payload, min(little, o.minutes), env...), prepareStep(payload, min(more, o.minutes), env...))
	}
	pl.Steps = append(pl.Steps,
		ways()[0].run(payload, names, o.minutes, env...))
	if len(names) < len(all.all()) {
		r.left = append(r.left, fmt.Sprintf("%d scripts that show the same on any machine (make test-integration; here: make test-vm-full): %s",
			len(all.others), strings.Join(all.others, " ")))
	}
	for _, w := range ways()[1:] {
		if o.full || o.host {
			pl.Steps = append(pl.Steps, w.run(payload, names, o.minutes, env...))
		} else {
			r.left = append(r.left, fmt.Sprintf("all %d %s (make test-vm-full)", len(all.all()), w.step))
		}
	}
	switch {
	case o.host: // make test-conformance
	case o.full:
		pl.Steps = append(pl.Steps, conformanceStep(payload, o.minutes, env...))
	default:
		r.left = append(r.left, "the validation programs of runtime-tools (make test-vm-full; on any machine: make test-conformance)")
	}
	if !o.host { // last, for they are everywhere on the machine
		engines := someEngines
		if o.full {
			engines = everyEngine
		}
		pl.Steps = append(pl.Steps, engineStep(payload, engines, min(more, o.minutes), env...),
			userEngineStep(payload, engines, min(more, o.minutes), env...))
		if o.full {
			pl.Steps = append(pl.Steps, kubernetesStep(payload, everyKubelet, o.minutes, env...))
			pl.Steps = append(pl.Steps, selinuxSteps(payload, all.selinux, ways(), o.minutes, env...)...)
		} else if len(all.selinux) > 0 {
			r.left = append(r.left, fmt.Sprintf("%d scripts that have a boot with SELinux for themselves (make test-vm-full): %s",
				len(all.selinux), strings.Join(all.selinux, " ")))
		}
	}
	return names, pl
}

// packDebian adds a Debian to the payload where a script wants one.
func (p payload) packDebian(o options, names []string) error {
	if o.host {
		return nil // it finds the cache's
	}
	want, err := wantDebian(filepath.Join(p.repo, "tests/integration/testdata"), names)
	if err != nil || !want {
		return err
	}
	return p.addDebian()
}

// packKubernetes adds the kubelet and containerd 2 to the payload where the plan
// has them run. They are built where the cache has none.
func (p payload) packKubernetes(pl plan) error {
	if !slices.ContainsFunc(pl.Steps, func(s step) bool { return s.Name == kubernetes }) {
		return nil
	}
	cmd := exec.Command(filepath.Join(p.repo, "tests/kubernetes/build"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("tests/kubernetes/build: %w", err)
	}
	return os.CopyFS(filepath.Join(p.dir, kubernetes), os.DirFS(strings.TrimSpace(string(out))))
}

// packConformance adds the validation programs of runtime-tools, and what is to
// come out, to the payload where the plan has them run.
func (p payload) packConformance(pl plan) error {
	if !slices.ContainsFunc(pl.Steps, func(s step) bool { return s.Name == conformance }) {
		return nil
	}
	dir := filepath.Join(p.dir, conformance)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("go", "test", "-count=1", "-tags", tags, "-run", "^TestPrograms$", "./tests/conformance", "-into", filepath.Join(dir, "programs"))
	cmd.Dir = p.repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs of tests/conformance: %w\n%s", err, out)
	}
	return errors.Join(
		p.build("test", conformance+"/conformance.test", "./tests/conformance"),
		copyFile(filepath.Join(p.repo, "docs/results/conformance.md"), filepath.Join(dir, "conformance.md"), 0o644))
}

// runHere runs the plan on this host.
func runHere(payload string, pl plan, r *report) {
	r.machine = describe()
	take := taker(r, os.Stdout)
	for _, s := range pl.Steps {
		s.run(payload, take)
	}
}

// runThere runs the plan of the payload in the machine.
func runThere(o options, dir string, p payload, r *report) error {
	say := func(format string, args ...any) { fmt.Printf("vm: "+format+"\n", args...) }
	m, err := theMachine().obtain(say)
	if err != nil {
		return err
	}
	b := boot{
		machine: m, payload: filepath.Join(dir, "payload.img"), accel: o.accel, dir: dir,
		limit: time.Duration(o.minutes) * time.Minute,
	}
	for _, b.selinux = range []bool{false, true} {
		if len(r.toRun(b.selinux).Steps) == 0 {
			continue
		}
		if err := b.runAll(p, r, say); err != nil || r.trouble != nil {
			return err
		}
	}
	return nil
}

// runAll boots the machine until all the steps that are for such a boot were run.
func (b boot) runAll(p payload, r *report, say func(string, ...any)) error {
	kind := "booting"
	if b.selinux {
		kind = "booting with SELinux"
		r.machine = append(r.machine, "a second boot, for SELinux:")
	}
	say("%s; the console's log is %s", kind, b.console())
	for n := 1; ; n++ {
		if err := errors.Join(p.write(r.toRun(b.selinux)), os.RemoveAll(b.payload)); err != nil {
			return err
		}
		if err := makeDisk(b.payload, p.dir, 2000); err != nil {
			return err
		}
		r.trouble = b.run(taker(r, os.Stdout))
		// The kernel now and then panics under multi-threaded emulation, about
		// once in five boots, which says nothing of what was being tested.
		if !panicked(r.trouble) || n == 4 {
			return nil
		}
		say("%v", r.trouble)
		say("the machine's kernel panicked: what was not run to its end is run once more")
		r.machine = append(r.machine, fmt.Sprintf("%s again (%d): before it, the machine's kernel panicked", kind, n+1))
	}
}

func panicked(err error) bool {
	var trouble *errMachine
	return errors.As(err, &trouble) && trouble.panicked()
}

// taker returns what puts events into the report, and tells on w, the terminal,
// how far it is, and what has failed with all that it has said.
func taker(r *report, w io.Writer) func(event) {
	begun := time.Now()
	said := map[string][]string{} // by each step's test
	about := map[string]string{}  // by each step: the test whose lines these are
	return func(e event) {
		if e.Step == aboutMachine {
			r.machine = append(r.machine, e.Output+e.Error)
			return
		}
		i := slices.IndexFunc(r.results, func(s *result) bool { return s.step.Name == e.Step })
		if i < 0 {
			return // the last event
		}
		r.results[i].take(e)
		line := strings.TrimLeft(e.Output, " \x16")
		fields := strings.Fields(line) // === NAME TestX, --- FAIL: TestX (0.1s)
		switch {
		case strings.HasPrefix(line, "=== ") && len(fields) > 2:
			about[e.Step] = e.Step + " " + fields[2]
		case strings.HasPrefix(line, "--- ") && len(fields) > 2:
			failed := fields[1] == "FAIL:"
			test := e.Step + " " + fields[2]
			if failed {
				fmt.Fprintln(w, strings.Join(said[test], "\n"))
			}
			if failed || strings.Contains(line, " TestScripts/") {
				fmt.Fprintf(w, "%5.0fs %s\n", time.Since(begun).Seconds(), line)
			}
			delete(said, test)
			about[e.Step] = test // what it says in a group of its own, as it ends
		default:
			said[about[e.Step]] = append(said[about[e.Step]], e.Output)
		}
	}
}

// save writes the report where it is wanted.
func save(o options, repo string, r *report) error {
	now := time.Now()
	path := o.report
	if path == "" && o.full && o.scripts == "" {
		dir := filepath.Join(repo, "docs/results")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		path = filepath.Join(dir, "vm-"+now.UTC().Format("2006-01-02")+".md")
	}
	if path == "" {
		return nil
	}
	fmt.Println("vm: the report is", path)
	return r.write(path, commitOf(repo), now)
}
