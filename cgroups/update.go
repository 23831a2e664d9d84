package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Changes is a plan to change the limits of a cgroup that is in use. It is
// plain data.
type Changes struct {
	Plan Plan // only what is to be written
	// Devices tells whether the device program changes too, and OldDevices what
	// it was made of.
	Devices    bool
	OldDevices Devices
	// Again is what is in force beside the changes, and is written behind them
	// when somebody else has been told of these: of one new limit systemd writes
	// all that it knows of the controller, rounded, or as nobody has asked for.
	Again []Write
}

// Update lays change over old, the resources so far, and returns them together,
// for the record, with the plan to get there. What change does not name, or
// names as unset (0 or empty), stays; -1 takes a limit away. Limits of devices,
// page sizes and unified keys are replaced one by one. Device rules are put
// behind the old ones, so that they have the last word; a list with a rule for
// all devices makes void what stands before that.
//
// Paths of defects and writes are those of change, below linux.resources.
func Update(old, change *specs.LinuxResources, e Env, d *defect.List) (*specs.LinuxResources, Changes) {
	if old == nil {
		old = &specs.LinuxResources{}
	}
	if change == nil {
		change = &specs.LinuxResources{}
	}
	merged := merge(old, change)
	had := len(*d)
	if checkUpdate(merged, change, d); len(*d) > had {
		return merged, Changes{}
	}
	var before, asked Plan
	var known defect.List // what is wrong has been told above
	compileResources(old, &before, &known)
	compileResources(change, &asked, &known)
	merged.Unified = overruled(merged.Unified, change.Unified, slices.Concat(asked.Writes, asked.Late))

	c := Changes{Plan: Plan{Root: e.Root, Required: true, DevicesFrom: devicesFrom}}
	compileResources(merged, &c.Plan, &known)
	all := slices.Concat(c.Plan.Writes, weighed(slices.Clone(c.Plan.Late), merged, change))
	c.Plan.Writes = changed(c.Plan.Writes, before.Writes, asked.Writes)
	c.Plan.Late = weighed(changed(c.Plan.Late, before.Late, asked.Late), merged, change)
	if len(change.Devices) > 0 {
		c.OldDevices, c.Plan.Devices = compileDevices(old.Devices, &known), compileDevices(merged.Devices, d)
		// Engines send the whole list with every update. Others may have put
		// rules of their own into the program (those of a GPU, say), which a
		// list that says nothing new must not undo.
		c.Devices = !c.OldDevices.equal(&c.Plan.Devices)
	}
	if e.Systemd {
		c.Plan.Manager = ManagerSystemd
		c.Plan.Scope.Properties, c.Plan.Scope.Late = properties(c.Plan.Writes, d), properties(c.Plan.Late, d)
		c.Again = beside(all, slices.Concat(c.Plan.Writes, c.Plan.Late))
	}
	return merged, c
}

// beside returns those of all that are of a controller of which systemd is told
// something for ws.
func beside(all, ws []Write) (out []Write) {
	for i := range all {
		w := &all[i]
		if slices.ContainsFunc(ws, func(c Write) bool {
			ps, _ := fileProperties(&c)
			return c.Controller == w.Controller && len(ps) > 0
		}) {
			out = append(out, *w)
		}
	}
	return out
}

// checkUpdate tells what is wrong: with the memory and cpu limits when change
// is laid over the old ones, since they depend on each other, and with all else
// as it stands in change.
func checkUpdate(merged, change *specs.LinuxResources, d *defect.List) {
	compileResources(&specs.LinuxResources{Memory: merged.Memory, CPU: merged.CPU}, &Plan{}, d)
	rest := *change
	rest.Memory, rest.CPU = nil, nil
	compileResources(&rest, &Plan{}, d)
	compileDevices(change.Devices, d)
}

// overruled returns what is left of the files in merged by their own names
// where a change sets them by another name: asked is what it sets. Else the
// older value would have the last word.
func overruled(merged, change map[string]string, asked []Write) map[string]string {
	var out map[string]string
	for file, text := range merged {
		if _, again := change[file]; again {
			continue
		}
		var left strings.Builder
		for line := range strings.Lines(text) {
			w := Write{File: file, Value: strings.TrimSuffix(line, "\n")}
			if !sets(asked, w.target()) {
				left.WriteString(line)
			}
		}
		if left.Len() == len(text) {
			continue
		}
		if out == nil {
			out = maps.Clone(merged)
		}
		if out[file] = left.String(); left.Len() == 0 {
			delete(out, file)
		}
	}
	if out == nil {
		return merged
	}
	return out
}

// weighed returns ws with the weight as an idle cgroup needs it: there it is
// only remembered, for the kernel would refuse it, and it is set anew where the
// cgroup is idle no more, for the kernel has forgotten it.
func weighed(ws []Write, merged, change *specs.LinuxResources) []Write {
	m := merged.CPU
	if m == nil || m.Idle == nil {
		return ws
	}
	weight := func(w Write) bool { return w.File == "cpu.weight" && w.From == sharesFrom }
	if *m.Idle == 1 {
		return slices.DeleteFunc(ws, weight)
	}
	if change.CPU == nil || change.CPU.Idle == nil || slices.ContainsFunc(ws, weight) {
		return ws
	}
	var known defect.List
	for _, w := range compileWeight(m, &known) {
		if weight(w) {
			idle := slices.IndexFunc(ws, func(w Write) bool { return w.File == "cpu.idle" })
			ws = slices.Insert(ws, idle+1, w)
		}
	}
	return ws
}

// changed returns those of ws that set what was asked for, which they say under
// the path that asks for it, or that were not before.
func changed(ws, before, asked []Write) []Write {
	ws = slices.DeleteFunc(ws, func(w Write) bool {
		was := slices.ContainsFunc(before, func(b Write) bool { return b.target() == w.target() && b.Value == w.Value })
		return was && !sets(asked, w.target())
	})
	for i := range ws {
		for _, a := range asked {
			if a.target() == ws[i].target() {
				ws[i].From = a.From
			}
		}
	}
	return ws
}

func sets(ws []Write, target string) bool {
	return slices.ContainsFunc(ws, func(w Write) bool {
		return w.target() == target || w.Else != nil && w.Else.target() == target
	})
}

// target tells what w sets: the file, or the part of it that is of one device,
// or one of a device's limits.
func (w *Write) target() string {
	if w.File == "io.max" {
		if key, _, ok := strings.Cut(w.Value, "="); ok {
			return w.File + " " + key
		}
	}
	if key, ok := w.key(); ok {
		return w.File + " " + key
	}
	return w.File
}

// Rename gives every place that asks for something the name that name has for
// it, in the errors that are still to come.
func (ch *Changes) Rename(name func(from string) string) {
	p := &ch.Plan
	for _, ws := range [...][]Write{p.Writes, p.Late, ch.Again} {
		for i := range ws {
			ws[i].From = name(ws[i].From)
			if e := ws[i].Else; e != nil {
				renamed := *e
				renamed.From = name(e.From)
				ws[i].Else = &renamed
			}
		}
	}
	for _, ps := range [...][]Property{p.Scope.Properties, p.Scope.Late} {
		for i := range ps {
			ps[i].From = name(ps[i].From)
		}
	}
	p.MemoryFrom, p.MemorySwapFrom, p.DevicesFrom = name(p.MemoryFrom), name(p.MemorySwapFrom), name(p.DevicesFrom)
}

// Empty tells whether there is nothing to do.
func (ch *Changes) Empty() bool {
	return len(ch.Plan.Writes) == 0 && len(ch.Plan.Late) == 0 && !ch.Devices
}

// Update carries out ch. If a part of it is refused, all is set back to what it
// was. tell, unless it is nil, tells somebody else of the new limits, who may
// write to the files too: what he wrote is overwritten.
func (c *Cgroup) Update(ch *Changes, tell func() error) error {
	ws := slices.Concat(ch.Plan.Writes, ch.Plan.Late)
	if err := c.check("limit"); err != nil {
		return err
	}
	if err := c.checkUpdate(&ch.Plan); err != nil {
		return err
	}
	back, err := c.change(ws)
	if err == nil {
		err = c.changeRest(ch, ws, tell)
	}
	if err != nil {
		for _, w := range slices.Backward(back) {
			err = errors.Join(err, setBack(c.write(&w)))
		}
	}
	return err
}

// changeRest does what is left of ch when ws is written, or nothing of it.
func (c *Cgroup) changeRest(ch *Changes, ws []Write, tell func() error) error {
	if ch.Devices {
		if err := c.attachDevices(&ch.Plan, &ch.Plan.Devices); err != nil {
			return err
		}
	}
	if tell == nil {
		return nil
	}
	err := tell()
	if err == nil {
		err = c.apply(slices.Concat(ch.Again, ws))
	}
	if err != nil && ch.Devices {
		err = errors.Join(err, setBack(c.attachDevices(&ch.Plan, &ch.OldDevices)))
	}
	return err
}

// checkUpdate refuses what can be known to fail before anything is written, and
// enables what controllers are missing.
func (c *Cgroup) checkUpdate(p *Plan) error {
	if len(p.Writes)+len(p.Late) > 0 {
		if err := c.Enable(p); err != nil {
			return err
		}
	}
	if err := c.checkControllers(p); err != nil {
		return err
	}
	if slices.ContainsFunc(p.Writes, func(w Write) bool { return w.File == "memory.max" || w.File == "memory.swap.max" }) {
		return c.checkMemory(p)
	}
	return nil
}

// change writes ws in order up to the first that is refused, and returns how to
// undo what was written, the last first.
func (c *Cgroup) change(ws []Write) (back []Write, err error) {
	for i := range ws {
		was, ok := c.present(&ws[i])
		if err := c.write(&ws[i]); err != nil {
			return back, err
		}
		if ok {
			back = append(back, was)
		}
	}
	return back, nil
}

// present returns the Write that undoes w, as long as w has not been written. ok
// is false where w's file cannot be read, or knows nothing to go back to.
func (c *Cgroup) present(w *Write) (_ Write, ok bool) {
	data, err := readAt(c.fd, w.File)
	if errors.Is(err, unix.ENOENT) && w.Else != nil {
		return c.present(w.Else)
	}
	if err != nil {
		return Write{}, false
	}
	back := Write{Controller: w.Controller, File: w.File, From: w.From}
	back.Value, ok = w.was(string(data))
	return back, ok
}

// was returns the value that makes w's file read as content again.
func (w *Write) was(content string) (string, bool) {
	key, keyed := w.key()
	var first string
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if keyed && strings.HasPrefix(line, key+" ") {
			return line, true
		}
		if first == "" {
			first = line
		}
	}
	switch {
	case w.File == "io.max":
		return key + " rbps=max wbps=max riops=max wiops=max", true
	case keyed && strings.HasSuffix(w.File, ".weight"):
		return key + " default", true
	case keyed:
		return "", false
	case strings.HasPrefix(w.File, "io."):
		return strings.TrimPrefix(first, "default "), first != "" // of the weights
	case first == "":
		return "\n", true // an empty set: a write of nothing would not reach the kernel
	}
	return first, strings.Count(content, "\n") <= 1
}

// key returns the part of a file of several lines that w sets: the device or
// the resource before its limits (cgroup-v2.rst, "Format").
func (w *Write) key() (string, bool) {
	key, _, ok := strings.Cut(w.Value, " ")
	switch controller, _, _ := strings.Cut(w.File, "."); controller {
	case "rdma", "misc", "dmem":
		return key, ok
	case "io":
		return key, ok && strings.Contains(key, ":")
	}
	return "", false
}

func setBack(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("set back: %w", err)
}
