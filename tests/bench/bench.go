package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// floorName is the floor's place among the runtimes.
const floorName = "floor"

// competitor is a runtime, or the floor.
type competitor struct {
	name, path, version string
	root                string // its state
	rootfs              string // shared by its bundles
	bundles             int
}

func (c *competitor) isFloor() bool { return c.name == floorName }

// bench is a run of the benchmark.
type bench struct {
	o           *options
	dir         string // work directory, in memory
	competitors []*competitor
	samples     map[key][]float64
	errors      map[key]string
	warm        bool // what is noted is thrown away
	said        *os.File
}

// key is a cell of the table.
type key struct{ row, competitor string }

func newBench(o *options) (*bench, error) {
	// The view of /proc that fits the pid namespace.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("mount /proc: %w", err)
	}
	b := &bench{o: o, dir: o.dir, samples: map[key][]float64{}, errors: map[key]string{}}
	for name := range strings.SplitSeq(o.runtimes, ",") {
		name, path, given := strings.Cut(name, "=")
		switch {
		case given:
		case name == "gourd":
			path = o.gourd
		default:
			var err error
			if path, err = exec.LookPath(name); err != nil {
				continue // not on this machine
			}
		}
		c := &competitor{name: name, path: path, version: version(path)}
		b.competitors = append(b.competitors, c)
	}
	if len(b.competitors) == 0 {
		return nil, errors.New("no runtime is there")
	}
	b.competitors = append(b.competitors, &competitor{name: floorName, path: filepath.Join(b.dir, "floor")})
	for _, c := range b.competitors {
		c.root = filepath.Join(b.dir, "state", c.name)
		c.rootfs = filepath.Join(b.dir, "rootfs", c.name)
		if err := os.MkdirAll(c.root, 0o700); err != nil {
			return nil, err
		}
		if err := makeRootfs(c.rootfs); err != nil {
			return nil, err
		}
	}
	var err error
	b.said, err = os.Create(filepath.Join(b.dir, "stderr"))
	return b, err
}

// version returns the number in the first line of --version.
func version(path string) string {
	out, err := exec.Command(path, "--version").Output()
	line, _, _ := strings.Cut(string(out), "\n")
	if n := regexp.MustCompile(`\d+\.\d+\S*`).FindString(line); n != "" {
		return n
	}
	if err != nil {
		return "?"
	}
	return line
}

// run measures a group: in each round every competitor has its turn, in an order
// by lot, since the kernel still removes the namespaces of the one before. One
// that fails is left out from then on, with its error.
func (b *bench) run(g *group) {
	if g.alone {
		for _, c := range b.competitors {
			b.rounds(g, []*competitor{c})
		}
		return
	}
	b.rounds(g, b.competitors)
}

func (b *bench) rounds(g *group, all []*competitor) {
	type player struct {
		c    *competitor
		once func() error
	}
	var players []*player
	for _, c := range all {
		once, end, err := g.begin(b, c)
		if end != nil {
			defer end()
		}
		switch {
		case errors.Is(err, errNotApplicable):
		case err != nil:
			b.fail(g, c, err)
		default:
			players = append(players, &player{c, once})
		}
	}
	runs := b.o.runs
	if g.divide > 1 {
		runs = max(3, runs/g.divide)
	}
	lot := rand.New(rand.NewPCG(1, 2)) // the same in each run
	for i := -1; i < runs; i++ {       // the first is to warm up
		b.warm = i < 0
		for _, j := range lot.Perm(len(players)) {
			p := players[j]
			if p.once == nil {
				continue
			}
			if err := p.once(); err != nil {
				b.fail(g, p.c, err)
				p.once = nil
			}
			reap()
		}
	}
}

var errNotApplicable = errors.New("not applicable")

// note takes a measured value.
func (b *bench) note(row string, c *competitor, value float64) {
	if !b.warm {
		k := key{row, c.name}
		b.samples[k] = append(b.samples[k], value)
	}
}

// fail remembers why a competitor has no value in the group's rows.
func (b *bench) fail(g *group, c *competitor, err error) {
	text := strings.TrimSpace(err.Error())
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, b.dir, "…")), " ")
	fmt.Fprintf(os.Stderr, "  %s cannot do this: %s\n", c.name, text)
	for _, r := range g.rows {
		k := key{r.key, c.name}
		if len(b.samples[k]) == 0 {
			b.errors[k] = text
		}
	}
}

// call runs a command to its end and returns how long that took, in
// milliseconds. The error has what it wrote to standard error.
func (b *bench) call(name string, args ...string) (float64, error) {
	if err := b.said.Truncate(0); err != nil {
		return 0, err
	}
	cmd := exec.Command(name, args...)
	// Files, not pipes: what a container keeps open holds nobody up.
	said, err := os.OpenFile(b.said.Name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer said.Close()
	cmd.Stderr = said
	begin := time.Now()
	err = cmd.Run()
	took := time.Since(begin)
	if err != nil {
		text, _ := os.ReadFile(b.said.Name())
		return 0, fmt.Errorf("%s: %w: %s", filepath.Base(name)+" "+verbOf(args), err, bytes.TrimSpace(text))
	}
	return float64(took) / 1e6, nil
}

// verbOf finds the verb behind --root DIR, for errors.
func verbOf(args []string) string {
	if len(args) > 5 && args[0] == "peak" {
		return "peak of " + filepath.Base(args[2]) + " " + args[5]
	}
	if len(args) > 2 && args[0] == "--root" {
		return args[2]
	}
	return args[0]
}

// verb runs a verb of the runtime.
func (b *bench) verb(c *competitor, args ...string) (float64, error) {
	return b.call(c.path, append([]string{"--root", c.root}, args...)...)
}

// timed runs a verb and notes how long it took.
func (b *bench) timed(row string, c *competitor, args ...string) error {
	took, err := b.verb(c, args...)
	if err == nil {
		b.note(row, c, took)
	}
	return err
}

// container is a container that has been created.
type container struct {
	b  *bench
	c  *competitor
	id string
}

// create creates a container of the bundle; how long it took goes to row,
// unless that is empty.
func (b *bench) create(c *competitor, row, bundle, id string) (*container, error) {
	took, err := b.verb(c, "create", "--bundle", bundle, "--pid-file", filepath.Join(bundle, "pid"), id)
	n := &container{b, c, id}
	if err != nil {
		n.remove()
		return nil, err
	}
	if row != "" {
		b.note(row, c, took)
	}
	return n, nil
}

// pidIn reads the pid that create has written into the bundle.
func pidIn(bundle string) (int, error) {
	text, err := os.ReadFile(filepath.Join(bundle, "pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// remove ends and deletes it, whatever it is doing.
func (n *container) remove() {
	_, _ = n.b.verb(n.c, "delete", "--force", n.id)
	reap()
}

// await waits for the end of a container's init: as pid 1 of these namespaces
// the benchmark is its parent by now.
func await(pid int) error {
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// reap takes away the orphans that have ended.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

// callAll runs commands at once and waits for all of them.
func (b *bench) callAll(lines [][]string) error {
	if err := b.said.Truncate(0); err != nil {
		return err
	}
	said, err := os.OpenFile(b.said.Name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer said.Close()
	var errs []error
	var started []*exec.Cmd
	for _, l := range lines {
		cmd := exec.Command(l[0], l[1:]...)
		cmd.Stderr = said
		if err := cmd.Start(); err != nil {
			errs = append(errs, err)
			break
		}
		started = append(started, cmd)
	}
	for _, cmd := range started {
		errs = append(errs, cmd.Wait())
	}
	if err := errors.Join(errs...); err != nil {
		text, _ := os.ReadFile(b.said.Name())
		first, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
		return fmt.Errorf("%d of them: %s: %s", len(lines), strings.SplitN(err.Error(), "\n", 2)[0], first)
	}
	return nil
}
