package resctrl

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Record is what the later verbs need of a container's group.
type Record struct {
	Root, Group string
	Monitor     string   `json:",omitempty"` // "" for none
	Made        []string `json:",omitempty"` // what ends with the container, in the order in which it was made
}

// Missing returns the directories that Create will make.
func (p *Plan) Missing() []string {
	var list []string
	for _, dir := range []string{p.Group, p.Monitor} {
		if _, err := os.Lstat(dir); dir != "" && errors.Is(err, os.ErrNotExist) {
			list = append(list, dir)
		}
	}
	return list
}

// Check adds a defect for what the config asks of a group that is there, or is
// to be, and that is not so; there is whether it is there.
func (p *Plan) Check(d *defect.List) (there bool, err error) {
	var st unix.Stat_t
	switch err := unix.Lstat(p.Group, &st); {
	case err == unix.ENOENT && p.MayMake:
		return false, nil
	case err == unix.ENOENT:
		d.Add(at+".closID", "there is no group %s, and without a schema it is not made here: make it first", p.Group)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%s: look at the group %s: %w", at, p.Group, err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return false, fmt.Errorf("%s: %s is not a group: %w", at, p.Group, unix.ENOTDIR)
	}
	if p.Own || len(p.Schemes) == 0 {
		return true, nil
	}
	// Others may be in it: it stays as it is, and must be what is asked for.
	text, err := os.ReadFile(schemataOf(p.Group))
	if err != nil {
		return true, fmt.Errorf("%s: read what the group %s has: %w", at, p.Group, err)
	}
	for _, l := range p.Schemes {
		if have := compare(l.Text, string(text), p.step()); have != "" {
			d.Add(l.From, "the group %s, which is there already, has %s, and not %s", p.Group, have, l.Text)
		}
	}
	return true, nil
}

// look is Check with the defects as an error.
func (p *Plan) look() (there bool, err error) {
	var d defect.List
	if there, err = p.Check(&d); err == nil {
		err = d.Err()
	}
	return there, err
}

// step is in which steps memory bandwidth can be had, in percent; 0 where nobody
// says.
func (p *Plan) step() uint64 {
	text, err := os.ReadFile(filepath.Join(p.Root, "info/MB/bandwidth_gran"))
	if err != nil {
		return 0
	}
	n, _ := number(string(text), 10)
	return n
}

func schemataOf(group string) string { return filepath.Join(group, "schemata") }

// Create makes what is missing of the plan's groups, and writes what they have
// of the caches and of the bandwidth. What it has changed undo changes back. A
// nil plan asks for nothing, and gets a nil record.
func Create(p *Plan, undo *cleanup.Stack) (*Record, error) {
	if p == nil {
		return nil, nil
	}
	defer trace.Begin("make the resctrl group").End()
	there, err := p.look()
	if err != nil {
		return nil, err
	}
	r := &Record{Root: p.Root, Group: p.Group, Monitor: p.Monitor}
	if !there {
		made, err := r.mkdir(p.Group, undo)
		if err != nil {
			return nil, err
		}
		if made && p.Own {
			r.Made = append(r.Made, p.Group)
		}
		if there = !made; there { // somebody was faster: as above
			if _, err := p.look(); err != nil {
				return nil, err
			}
		}
	}
	lines := p.Schemata
	if !there || p.Own { // else they are there, as look has seen
		lines = append(p.Schemes[:len(p.Schemes):len(p.Schemes)], lines...)
	}
	back, err := r.write(lines)
	if err != nil {
		return nil, err
	}
	if there {
		undo.Add("give the resctrl group "+r.Group+" back what it had", back)
	}
	if p.Monitor == "" {
		return r, nil
	}
	made, err := r.mkdir(p.Monitor, undo)
	if err == nil && !made {
		// It is to be the container's alone.
		err = fmt.Errorf("%s.enableMonitoring: make the monitoring group %s: %w", at, p.Monitor, unix.EEXIST)
	}
	if err != nil {
		return nil, err
	}
	r.Made = append(r.Made, p.Monitor)
	return r, nil
}

// mkdir makes a group; made is false for one that is there.
func (r *Record) mkdir(dir string, undo *cleanup.Stack) (made bool, err error) {
	err = os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: make the group: %w", at, r.explain(err))
	}
	undo.Add("remove the resctrl group "+dir, func() error { return rmdir(dir) })
	return true, nil
}

func rmdir(dir string) error {
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove the resctrl group %s: %w", dir, err)
	}
	return nil
}

// write writes lines to the group's schemata file, all or none of them, and
// returns what writes back what was there.
func (r *Record) write(lines []Line) (back func() error, err error) {
	if len(lines) == 0 {
		return func() error { return nil }, nil
	}
	file := schemataOf(r.Group)
	old, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: read what the group %s has: %w", at, r.Group, err)
	}
	var before strings.Builder
	for _, l := range lines {
		resource, _, _ := parse(l.Text)
		if had := ofResource(string(old), resource); had != "" {
			before.WriteString(had + "\n")
		}
	}
	back = func() error {
		if before.Len() == 0 {
			return nil
		}
		return r.put(file, before.String())
	}
	// One by one, so that an error is about one; the kernel, too, takes those
	// before a wrong one.
	for _, l := range lines {
		if err := r.put(file, l.Text+"\n"); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", l.From, err), back())
		}
	}
	return back, nil
}

// put writes text to a file in one call, and says what the kernel says of a
// refusal.
func (r *Record) put(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%q: %w", strings.TrimSuffix(text, "\n"), r.explain(err))
	}
	return nil
}

// explain adds the kernel's own words, which it keeps for the last command.
func (r *Record) explain(err error) error {
	said, readErr := os.ReadFile(filepath.Join(r.Root, "info/last_cmd_status"))
	text := strings.TrimSpace(string(bytes.ReplaceAll(said, []byte("\n"), []byte("; "))))
	text = strings.TrimSuffix(text, ";")
	if readErr != nil || text == "" || text == "ok" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, text)
}

// Join moves a process, which may have one thread only, into the container's
// groups: what it forks or clones is born there. A nil record has none. Groups
// that have been removed since are passed over: the container, too, is in the
// default one then.
func (r *Record) Join(pid int) error {
	if r == nil {
		return nil
	}
	for _, dir := range []string{r.Group, r.Monitor} {
		if dir == "" {
			continue
		}
		err := r.put(filepath.Join(dir, "tasks"), strconv.Itoa(pid))
		if errors.Is(err, os.ErrNotExist) {
			if _, gone := os.Lstat(dir); errors.Is(gone, os.ErrNotExist) {
				return nil
			}
		}
		if err != nil {
			return fmt.Errorf("%s: move process %d into the group %s: %w", at, pid, dir, err)
		}
	}
	return nil
}

// Update gives the group other lines, and returns what takes them back.
func (r *Record) Update(lines []Line) (back func() error, err error) { return r.write(lines) }

// Remove removes what was made for the container alone. A nil record has
// nothing.
func (r *Record) Remove() error {
	if r == nil {
		return nil
	}
	return RemoveGroups(r.Made)
}

// RemoveGroups removes groups, the last one first.
func RemoveGroups(dirs []string) error {
	var errs []error
	for i := len(dirs) - 1; i >= 0; i-- {
		errs = append(errs, rmdir(dirs[i]))
	}
	return errors.Join(errs...)
}
