// update.go: gourd update.

package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

func updateVerb() *verb {
	return &verb{
		name:     "update",
		summary:  "Change the limits of a container",
		operands: "CONTAINER-ID",
		more: "What is not named stays as it is. Either all of it is changed or, if something is refused,\n" +
			"nothing. SIZE is a number of bytes, or one with a suffix: 512k, 64M, 1.5G (of 1024 each).\n\n" +
			"--resources takes all that linux.resources of config.json has, in the same form, devices and huge\n" +
			"pages too. Limits of single devices and page sizes, and unified files, are replaced one by one.\n" +
			"Device rules come after those that are in force; a list that begins with a rule for all devices\n" +
			"replaces them. The other options are then not looked at, but for those of resctrl.",
		example: "gourd update --memory 256M --pids-limit 100 web\ngourd update --resources limits.json web",
		flags: func() []cli.Flag {
			list := []cli.Flag{
				&cli.StringFlag{Name: "resources", Aliases: []string{"r"}, Usage: "take the changes from the JSON in `FILE`; - is the standard input"},
			}
			for _, f := range limitFlags() {
				list = append(list, &cli.StringFlag{Name: f.name, Usage: f.usage, Hidden: f.hidden})
			}
			return append(list,
				&cli.StringFlag{Name: "l3-cache-schema", Usage: "what its group in resctrl has of the caches, `SCHEMA` such as L3:0=ff;1=f (needs linux.intelRdt)"},
				&cli.StringFlag{Name: "mem-bw-schema", Usage: "what it has of the memory bandwidth, `SCHEMA` such as MB:0=50 (needs linux.intelRdt)"})
		},
		operandKinds: []operand{operandContainer},
		min:          1, max: 1,
		run: update,
	}
}

// limitFlag is a flag that sets one limit.
type limitFlag struct {
	name, usage string
	path        string // below linux.resources
	hidden      bool
	set         func(r *specs.LinuxResources, text string) error
}

// limitFlags are runc's. The limits' own rules are package cgroups'.
func limitFlags() []limitFlag {
	return []limitFlag{
		{name: "blkio-weight", path: "blockIO.weight", usage: "weight of its I/O among others, `N` from 10 to 1000", set: func(r *specs.LinuxResources, s string) error {
			n, err := strconv.ParseUint(s, 10, 16)
			w := uint16(n)
			r.BlockIO = &specs.LinuxBlockIO{Weight: &w}
			return numberError(err, "a weight from 10 to 1000")
		}},
		{name: "cpu-period", path: "cpu.period", usage: "length of a period of --cpu-quota, in microseconds `USEC`", set: count(func(r *specs.LinuxResources) **uint64 { return &cpuOf(r).Period })},
		{name: "cpu-quota", path: "cpu.quota", usage: "microseconds of processor time in each period, `USEC`; -1 is no limit", set: signed(func(r *specs.LinuxResources) **int64 { return &cpuOf(r).Quota })},
		{name: "cpu-burst", path: "cpu.burst", usage: "microseconds that are saved up from earlier periods, `USEC` at most", set: count(func(r *specs.LinuxResources) **uint64 { return &cpuOf(r).Burst })},
		{name: "cpu-share", path: "cpu.shares", usage: "weight of its processor time among others, `N` from 2 to 262144", set: count(func(r *specs.LinuxResources) **uint64 { return &cpuOf(r).Shares })},
		{name: "cpu-rt-period", path: "cpu.realtimePeriod", usage: "refused, unless `USEC` is 0: cgroup v2 has no such limit", set: count(func(r *specs.LinuxResources) **uint64 { return &cpuOf(r).RealtimePeriod })},
		{name: "cpu-rt-runtime", path: "cpu.realtimeRuntime", usage: "refused, unless `USEC` is 0 or -1: cgroup v2 has no such limit", set: signed(func(r *specs.LinuxResources) **int64 { return &cpuOf(r).RealtimeRuntime })},
		{name: "cpuset-cpus", path: "cpu.cpus", usage: "the processors that it may run on, `LIST` such as 0-3,7", set: func(r *specs.LinuxResources, s string) error {
			cpuOf(r).Cpus = s
			return nil
		}},
		{name: "cpuset-mems", path: "cpu.mems", usage: "the memory nodes that it may use, `LIST` such as 0-1", set: func(r *specs.LinuxResources, s string) error {
			cpuOf(r).Mems = s
			return nil
		}},
		{name: "kernel-memory", hidden: true, usage: "ignored: --memory counts it in", set: func(_ *specs.LinuxResources, s string) error { return obsolete(s) }},
		{name: "kernel-memory-tcp", hidden: true, usage: "ignored: --memory counts it in", set: func(_ *specs.LinuxResources, s string) error { return obsolete(s) }},
		{name: "memory", path: "memory.limit", usage: "limit of its memory, `SIZE`; -1 is no limit, also of swap", set: size(func(r *specs.LinuxResources) **int64 { return &memoryOf(r).Limit })},
		{name: "memory-reservation", path: "memory.reservation", usage: "memory that is left to it when others need some, `SIZE`", set: size(func(r *specs.LinuxResources) **int64 { return &memoryOf(r).Reservation })},
		{name: "memory-swap", path: "memory.swap", usage: "limit of its memory and swap together, `SIZE`; -1 is no limit", set: size(func(r *specs.LinuxResources) **int64 { return &memoryOf(r).Swap })},
		{name: "pids-limit", path: "pids.limit", usage: "how many processes and threads it may have, `N`; -1 is no limit", set: signed(func(r *specs.LinuxResources) **int64 {
			if r.Pids == nil {
				r.Pids = &specs.LinuxPids{}
			}
			return &r.Pids.Limit
		})},
		{name: "cpu-idle", path: "cpu.idle", usage: "run only where nobody else wants to: `N` is 1, or 0", set: signed(func(r *specs.LinuxResources) **int64 { return &cpuOf(r).Idle })},
	}
}

func update(p *program, c *cli.Context) error {
	o, err := updateOptions(c, os.Stdin, p.log)
	if err != nil {
		return err
	}
	ctr, err := load(c)
	if err != nil {
		return err
	}
	defer ctr.Close()
	return ctr.Update(c.Context, o)
}

// updateOptions reads what is to change. An empty value is none, as with runc.
func updateOptions(c *cli.Context, stdin io.Reader, log *slog.Logger) (o libcontainer.UpdateOptions, err error) {
	o.Strict = c.Bool("strict")
	ignore := func(flag, why string) {
		o.Ignored.Add(flag, "%s", why)
		if !o.Strict {
			log.Warn(flag + " " + why)
		}
	}
	file := c.String("resources")
	r := new(specs.LinuxResources)
	for _, f := range limitFlags() {
		text := c.String(f.name)
		if text == "" {
			continue
		}
		if file != "" && f.path != "" {
			ignore("--"+f.name, "is not looked at, since --resources is given")
			continue
		}
		var old *obsoleteError
		switch err := f.set(r, text); {
		case errors.As(err, &old):
			ignore("--"+f.name, text+" is ignored: "+err.Error())
		case err != nil:
			return o, fmt.Errorf("update: --%s: %w", f.name, err)
		}
	}
	o.Resources, o.Name = r, limitName
	// Not of linux.resources: they go with --resources too.
	o.L3CacheSchema, o.MemBwSchema = c.String("l3-cache-schema"), c.String("mem-bw-schema")
	if file == "" {
		return o, nil
	}
	o.Flag, o.Name = "--resources", inResources
	o.Resources, o.Raw, err = readResources(file, stdin)
	return o, spec.In("update --resources", err)
}

// maxResources is how large the JSON of --resources may be, in bytes: as a config.
const maxResources = 16 << 20

// readResources reads FILE, or the standard input where that is "-", and
// returns what it means, and its content.
func readResources(file string, stdin io.Reader) (*specs.LinuxResources, []byte, error) {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, nil, fmt.Errorf("update --resources: %w", err)
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, maxResources+1))
	if err != nil {
		return nil, nil, fmt.Errorf("update --resources: %w", err)
	}
	if len(data) > maxResources {
		return nil, nil, fmt.Errorf("update --resources: read %s: more than the %d bytes that resources may have", file, maxResources)
	}
	r := new(specs.LinuxResources)
	return r, data, spec.DecodeInto(data, r)
}

// inResources is what a path of the config is called in the JSON of --resources.
func inResources(path string) string { return strings.TrimPrefix(path, "linux.resources.") }

// limitName is the flag that sets what a path of the config names.
func limitName(path string) string {
	path = inResources(path)
	for _, f := range limitFlags() {
		if f.path == path {
			return "--" + f.name
		}
	}
	return path
}

func cpuOf(r *specs.LinuxResources) *specs.LinuxCPU {
	if r.CPU == nil {
		r.CPU = &specs.LinuxCPU{}
	}
	return r.CPU
}

func memoryOf(r *specs.LinuxResources) *specs.LinuxMemory {
	if r.Memory == nil {
		r.Memory = &specs.LinuxMemory{}
	}
	return r.Memory
}

// count returns the set of a flag whose value is a number from 0 on.
func count(of func(*specs.LinuxResources) **uint64) func(*specs.LinuxResources, string) error {
	return func(r *specs.LinuxResources, s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		*of(r) = &n
		return numberError(err, "a number from 0 on")
	}
}

// signed returns the set of a flag whose value is a number.
func signed(of func(*specs.LinuxResources) **int64) func(*specs.LinuxResources, string) error {
	return func(r *specs.LinuxResources, s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		*of(r) = &n
		return numberError(err, "a number")
	}
}

// size returns the set of a flag whose value is a number of bytes.
func size(of func(*specs.LinuxResources) **int64) func(*specs.LinuxResources, string) error {
	return func(r *specs.LinuxResources, s string) error {
		n, err := parseSize(s)
		*of(r) = &n
		return err
	}
}

func numberError(err error, what string) error {
	var bad *strconv.NumError
	if !errors.As(err, &bad) {
		return err
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q is too large, or too small, for %s", bad.Num, what)
	}
	return fmt.Errorf("%q is not %s", bad.Num, what)
}

// parseSize reads a number of bytes as runc's flags have it: "-1", or a number,
// which may have a fraction, with a suffix k, m, g, t or p in either case, behind
// which b or ib may stand. A kilobyte is 1024 bytes, whichever is written.
func parseSize(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	wrong := fmt.Errorf("%q is not a size such as 67108864, 64M or 1.5G, nor -1 for no limit", s)
	number := strings.TrimRight(s, "bBiIkKmMgGtTpP")
	suffix := strings.ToLower(s[len(number):])
	number = strings.TrimSuffix(number, " ")
	shift := 0
	if unit := strings.TrimSuffix(strings.TrimSuffix(suffix, "b"), "i"); unit != "" {
		i := strings.Index("kmgtp", unit)
		if len(unit) != 1 || i < 0 {
			return 0, wrong
		}
		shift = 10 * (i + 1)
	} else if suffix != "" && suffix != "b" {
		return 0, wrong
	}
	if strings.HasSuffix(suffix, "i") || strings.Trim(number, "0123456789.") != "" {
		return 0, wrong
	}
	whole, fraction, _ := strings.Cut(number, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	part, errPart := 0.0, error(nil)
	if fraction != "" {
		part, errPart = strconv.ParseFloat("0."+fraction, 64)
	}
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > math.MaxInt64>>shift:
		return 0, fmt.Errorf("%q is more than there can be", s)
	case err != nil || errPart != nil:
		return 0, wrong
	}
	return n<<shift + int64(part*float64(int64(1)<<shift)), nil
}

// obsoleteError is the error of a flag that is only there to be ignored.
type obsoleteError struct{}

func (*obsoleteError) Error() string {
	return "cgroup v2 has no limit for kernel memory of its own, --memory counts it in"
}

// obsolete refuses a wrong value, so that a typing mistake is still found.
func obsolete(s string) error {
	if _, err := parseSize(s); err != nil {
		return err
	}
	return &obsoleteError{}
}
