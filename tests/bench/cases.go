package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// group is a case: what is measured together, in one or more rows of the table.
type group struct {
	name, about string
	rows        []row
	slow        bool // only when asked for
	alone       bool // the competitors come one after the other
	divide      int  // so many times fewer rounds

	// begin makes ready and returns what one round is, and what takes all away
	// again. errNotApplicable leaves the competitor out.
	begin func(b *bench, c *competitor) (once func() error, end func(), err error)
}

// row is a line of the table; its unit is that of all its cells.
type row struct {
	key, text, unit string
	goals           map[string]float64 // gourd's ratio to another that issue 8 wants
}

var (
	verbGoals = map[string]float64{"crun": 0.6, "runc": 0.2}
	rssGoals  = map[string]float64{"crun": 2, "runc": 0.6}
)

const (
	ms  = "ms"
	mib = "MiB"
)

var groups = []group{
	{name: "plain", about: "run /bin/true with the config that spec writes", begin: runCase("plain", (*bench).plain),
		rows: []row{{key: "plain", text: "run, plain config", unit: ms}}},
	{name: "engine", about: "run /bin/true with an engine's config and seccomp", begin: runCase("engine", (*bench).engineSpec),
		rows: []row{{key: "engine", text: "run, engine's config", unit: ms, goals: map[string]float64{"crun": 0.6, "runc": 0.12, floorName: 2}}}},
	{name: "lifecycle", about: "create, state, start, kill and delete, each", begin: lifecycle, rows: []row{
		{key: "create", text: "create", unit: ms, goals: verbGoals},
		{key: "start", text: "start", unit: ms, goals: verbGoals},
		{key: "state", text: "state", unit: ms, goals: map[string]float64{"crun": 0.5, "runc": 0.25}},
		{key: "kill", text: "kill", unit: ms, goals: verbGoals},
		{key: "delete", text: "delete", unit: ms, goals: verbGoals},
	}},
	{name: "exec", about: "exec /bin/true", begin: execCase,
		rows: []row{{key: "exec", text: "exec /bin/true", unit: ms, goals: map[string]float64{"crun": 0.4, "runc": 0.07}}}},
	{name: "sequence", about: "100 runs, one after the other", begin: manyCase("sequence", 100, false), divide: 5,
		rows: []row{{key: "sequence", text: "100 runs in sequence", unit: ms}}},
	{name: "parallel", about: "64 runs at once", begin: manyCase("parallel", 64, true), divide: 5,
		rows: []row{{key: "parallel", text: "64 runs at once", unit: ms}}},
	bindsGroup(1), bindsGroup(100), bindsGroup(1000),
	configGroup("4k", "4 KiB", 4<<10), configGroup("1m", "1 MiB", 1<<20),
	{name: "rss", about: "the peak of memory of each verb", begin: rssCase, divide: 2, rows: []row{
		{key: "rss-run", text: "peak RSS of run", unit: mib, goals: rssGoals},
		{key: "rss-create", text: "peak RSS of create", unit: mib},
		{key: "rss-start", text: "peak RSS of start", unit: mib},
		{key: "rss-state", text: "peak RSS of state", unit: mib},
		{key: "rss-exec", text: "peak RSS of exec", unit: mib},
		{key: "rss-kill", text: "peak RSS of kill", unit: mib},
		{key: "rss-delete", text: "peak RSS of delete", unit: mib},
	}},
	{name: "gate", about: "the memory of an init that waits for start", begin: gateCase, divide: 2, rows: []row{
		{key: "gate-pss", text: "init at the gate, PSS", unit: mib, goals: map[string]float64{"crun": 1, "runc": 0.1}},
		{key: "gate-private", text: "init at the gate, private", unit: mib},
	}},
	{name: "cold", about: "--version, the binary's own file not in memory", begin: coldCase, divide: 2,
		rows: []row{{key: "cold", text: "cold start (--version)", unit: ms}}},
	{name: "alive", about: "create, list and memory with very many containers", slow: true, alone: true, divide: 2, begin: aliveCase, rows: []row{
		{key: "alive-create", text: "create, 1000 alive", unit: ms},
		{key: "alive-list", text: "list, 1000 alive", unit: ms},
		{key: "alive-pss", text: "PSS of each of 1000 inits", unit: mib},
	}},
}

func (b *bench) plain() (*specs.Spec, error) { return plainSpec() }

// runCase is a run of /bin/true in the foreground.
func runCase(row string, config func(*bench) (*specs.Spec, error)) func(*bench, *competitor) (func() error, func(), error) {
	return func(b *bench, c *competitor) (func() error, func(), error) {
		s, err := config(b)
		if err != nil {
			return nil, nil, err
		}
		dir, err := b.bundle(c, s, "/bin/true")
		if err != nil {
			return nil, nil, err
		}
		line := c.runLine(dir, row)
		return func() error {
			took, err := b.call(line[0], line[1:]...)
			if err != nil {
				b.clear(c, row)
				return err
			}
			b.note(row, c, took)
			return nil
		}, nil, nil
	}
}

// clear takes away what a failed run may have left.
func (b *bench) clear(c *competitor, id string) {
	if !c.isFloor() {
		(&container{b, c, id}).remove()
	}
}

func bindsGroup(n int) group {
	name := "binds-" + strconv.Itoa(n)
	return group{
		name: name, about: fmt.Sprintf("run /bin/true with an engine's config and %d more bind mounts", n), divide: 2,
		begin: runCase(name, func(b *bench) (*specs.Spec, error) { return b.withBinds(n) }),
		rows:  []row{{key: name, text: fmt.Sprintf("run, %d more binds", n), unit: ms}},
	}
}

func configGroup(name, size string, n int) group {
	name = "config-" + name
	return group{
		name: name, about: "create with a config.json of " + size, divide: 2,
		rows: []row{{key: name, text: "create, " + size + " config", unit: ms}},
		begin: func(b *bench, c *competitor) (func() error, func(), error) {
			if c.isFloor() {
				return nil, nil, errNotApplicable
			}
			s, err := b.sized(n)
			if err != nil {
				return nil, nil, err
			}
			dir, err := b.bundle(c, s, "/bin/true")
			if err != nil {
				return nil, nil, err
			}
			return func() error {
				n, err := b.create(c, name, dir, name)
				if err == nil {
					n.remove()
				}
				return err
			}, nil, nil
		},
	}
}

// sleeper writes the bundle of an engine's container that sleeps.
func (b *bench) sleeper(c *competitor) (string, error) {
	if c.isFloor() {
		return "", errNotApplicable
	}
	s, err := b.engineSpec()
	if err != nil {
		return "", err
	}
	return b.bundle(c, s, "/bin/sleep", "1000000")
}

func lifecycle(b *bench, c *competitor) (func() error, func(), error) {
	dir, err := b.sleeper(c)
	if err != nil {
		return nil, nil, err
	}
	const id = "life"
	return func() (err error) {
		n, err := b.create(c, "create", dir, id)
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				n.remove()
			}
		}()
		pid, err := pidIn(dir)
		if err != nil {
			return err
		}
		for _, verb := range []string{"state", "start"} {
			if err := b.timed(verb, c, verb, id); err != nil {
				return err
			}
		}
		if err := b.timed("kill", c, "kill", id, "KILL"); err != nil {
			return err
		}
		if err := await(pid); err != nil {
			return fmt.Errorf("wait for init: %w", err)
		}
		return b.timed("delete", c, "delete", id)
	}, nil, nil
}

// running starts a container that sleeps.
func (b *bench) running(c *competitor, id string) (*container, error) {
	dir, err := b.sleeper(c)
	if err != nil {
		return nil, err
	}
	n, err := b.create(c, "", dir, id)
	if err != nil {
		return nil, err
	}
	if _, err := b.verb(c, "start", id); err != nil {
		n.remove()
		return nil, err
	}
	return n, nil
}

func execCase(b *bench, c *competitor) (func() error, func(), error) {
	n, err := b.running(c, "exec")
	if err != nil {
		return nil, nil, err
	}
	return func() error { return b.timed("exec", c, "exec", n.id, "/bin/true") }, n.remove, nil
}

// manyCase is n runs, one after the other or all at once.
func manyCase(row string, n int, atOnce bool) func(*bench, *competitor) (func() error, func(), error) {
	return func(b *bench, c *competitor) (func() error, func(), error) {
		var lines [][]string
		for i := range n {
			s, err := b.engineSpec()
			if err != nil {
				return nil, nil, err
			}
			dir, err := b.bundle(c, s, "/bin/true")
			if err != nil {
				return nil, nil, err
			}
			lines = append(lines, c.runLine(dir, row+strconv.Itoa(i)))
		}
		return func() (err error) {
			begin := time.Now()
			if atOnce {
				err = b.callAll(lines)
			} else {
				for _, l := range lines {
					if _, err = b.call(l[0], l[1:]...); err != nil {
						break
					}
				}
			}
			if err != nil {
				for i := range lines {
					b.clear(c, row+strconv.Itoa(i))
				}
				return err
			}
			b.note(row, c, float64(time.Since(begin))/1e6)
			return nil
		}, nil, nil
	}
}

// rssCase runs each verb below the small program that looks at its peak.
func rssCase(b *bench, c *competitor) (func() error, func(), error) {
	dir, err := b.sleeper(c)
	if err != nil {
		return nil, nil, err
	}
	s, err := b.engineSpec()
	if err != nil {
		return nil, nil, err
	}
	short, err := b.bundle(c, s, "/bin/true")
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(b.dir, "peak")
	verb := func(args ...string) error {
		line := append([]string{"peak", file, c.path, "--root", c.root}, args...)
		if _, err := b.call(filepath.Join(b.dir, "floor"), line...); err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		kib, err := strconv.ParseFloat(string(text), 64)
		if err == nil {
			b.note("rss-"+args[0], c, kib/1024)
		}
		return err
	}
	const id = "rss"
	return func() (err error) {
		defer func() {
			if err != nil {
				b.clear(c, id)
			}
		}()
		for _, args := range [][]string{
			{"run", "--bundle", short, id},
			{"create", "--bundle", dir, "--pid-file", filepath.Join(dir, "pid"), id},
			{"state", id}, {"start", id}, {"exec", id, "/bin/true"}, {"kill", id, "KILL"},
		} {
			if err := verb(args...); err != nil {
				return err
			}
		}
		pid, err := pidIn(dir)
		if err == nil {
			err = await(pid)
		}
		if err == nil {
			err = verb("delete", id)
		}
		return err
	}, nil, nil
}

func gateCase(b *bench, c *competitor) (func() error, func(), error) {
	dir, err := b.sleeper(c)
	if err != nil {
		return nil, nil, err
	}
	return func() error {
		n, err := b.create(c, "", dir, "gate")
		if err != nil {
			return err
		}
		defer n.remove()
		pid, err := pidIn(dir)
		if err != nil {
			return err
		}
		// Behind create's back an init may still be busy with what makes it light: it
		// is no longer when a few other commands have come to their ends.
		var pss, private float64
		for range 5 {
			if _, err := b.verb(c, "state", "gate"); err != nil {
				return err
			}
			if pss, private, err = memory(pid); err != nil {
				return err
			}
		}
		b.note("gate-pss", c, pss)
		b.note("gate-private", c, private)
		return nil
	}, nil, nil
}

// memory returns a process's proportional and private memory, in MiB.
func memory(pid int) (pss, private float64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 3 || f[2] != "kB" {
			continue
		}
		kib, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			return 0, 0, err
		}
		switch f[0] {
		case "Pss:":
			pss = kib / 1024
		case "Private_Clean:", "Private_Dirty:":
			private += kib / 1024
		}
	}
	return pss, private, lines.Err()
}

// coldCase starts a copy of the binary that nobody else has mapped, and whose
// pages have been dropped.
func coldCase(b *bench, c *competitor) (func() error, func(), error) {
	if c.isFloor() {
		return nil, nil, errNotApplicable
	}
	dir, err := os.MkdirTemp("", "gourd-bench-cold-") // on a disk, if there is one
	if err != nil {
		return nil, nil, err
	}
	end := func() { os.RemoveAll(dir) }
	binary := filepath.Join(dir, c.name)
	if err := copyFile(c.path, binary, 0o755); err != nil {
		return nil, end, err
	}
	return func() error {
		f, err := os.Open(binary)
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
		if err != nil {
			return fmt.Errorf("drop the binary from memory: %w", err)
		}
		took, err := b.call(binary, "--version")
		if err == nil {
			b.note("cold", c, took)
		}
		return err
	}, end, nil
}

// aliveCase creates very many containers, and then looks at one more.
func aliveCase(b *bench, c *competitor) (once func() error, end func(), err error) {
	if c.isFloor() {
		return nil, nil, errNotApplicable
	}
	var all []*container
	var pids []int
	end = func() {
		for _, n := range all {
			n.remove()
		}
	}
	for i := range b.o.alive {
		dir, err := b.sleeper(c)
		if err != nil {
			return nil, end, err
		}
		n, err := b.create(c, "", dir, "alive"+strconv.Itoa(i))
		if err != nil {
			return nil, end, fmt.Errorf("container %d: %w", i+1, err)
		}
		all = append(all, n)
		pid, err := pidIn(dir)
		if err != nil {
			return nil, end, err
		}
		pids = append(pids, pid)
	}
	dir, err := b.sleeper(c)
	if err != nil {
		return nil, end, err
	}
	first := true
	return func() error {
		n, err := b.create(c, "alive-create", dir, "onemore")
		if err != nil {
			return err
		}
		n.remove()
		if err := b.timed("alive-list", c, "list"); err != nil {
			return err
		}
		if b.warm || !first {
			return nil
		}
		first = false
		sum := 0.0
		for _, pid := range pids {
			pss, _, err := memory(pid)
			if err != nil {
				return err
			}
			sum += pss
		}
		b.note("alive-pss", c, sum/float64(len(pids)))
		return nil
	}, end, nil
}
