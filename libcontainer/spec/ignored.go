package spec

import (
	"reflect"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// maxIgnored is after how many skipped properties Skipped stops to collect.
const maxIgnored = 50

// Skipped adds a defect for each property that decoding JSON into the struct
// that v points to passes over: what gourd does not know, what is another
// platform's, and what is given twice, where the last one counts. It decodes
// data, which must have been decoded without an error, once more into v, so
// that those who do not ask do not pay. prefix is before each path.
func Skipped(data []byte, v any, prefix string, d *defect.List) {
	dec := decoder{data: string(data), skipped: new(defect.List)}
	if err := dec.value(reflect.ValueOf(v).Elem()); err != nil {
		return // who has decoded it has been told
	}
	for _, s := range *dec.skipped {
		d.Add(prefix+s.Path, "%s", s.Problem)
	}
}

// Unused adds a defect for each valid property of the config that has no effect
// by the spec's own word, as far as no mechanism has it.
func Unused(s *specs.Spec, d *defect.List) {
	if s.Process != nil {
		UnusedOfProcess(s.Process, d)
	}
	if s.Domainname == "" || s.Linux == nil {
		return
	}
	for _, name := range [...]string{"kernel.domainname", "kernel/domainname"} {
		if value, ok := s.Linux.Sysctl[name]; ok && value != s.Domainname {
			d.Add("domainname", "ignored: linux.sysctl sets %q after it", value)
		}
	}
}

// UnusedOfProcess is Unused for a process, the container's or an exec's.
func UnusedOfProcess(p *specs.Process, d *defect.List) {
	if p.ConsoleSize != nil && !p.Terminal {
		d.Add("process.consoleSize", "ignored: process.terminal is not true")
	}
	// sched(7), ioprio_set(2)
	if s := p.Scheduler; s != nil && s.Nice != 0 && s.Policy != specs.SchedOther && s.Policy != specs.SchedBatch {
		d.Add("process.scheduler.nice", "ignored: it says nothing to %s", s.Policy)
	}
	if i := p.IOPriority; i != nil && i.Class == specs.IOPRIO_CLASS_IDLE && i.Priority != 0 {
		d.Add("process.ioPriority.priority", "ignored: %s has no levels", i.Class)
	}
}

// pass notes that the value at the current position is passed over.
func (d *decoder) pass(problem string) {
	if d.skipped != nil && len(*d.skipped) < maxIgnored {
		d.skipped.Add(d.where(), "%s", problem)
	}
}

// keys finds keys that an object has twice. Without a list to note them in it
// does nothing.
type keys struct {
	d    *decoder
	seen map[string]bool
}

func (d *decoder) keys() keys {
	if d.skipped == nil {
		return keys{}
	}
	return keys{d, map[string]bool{}}
}

// add notes a key whose value is about to be read.
func (k *keys) add(name string) {
	if k.d == nil {
		return
	}
	if k.seen[name] {
		k.d.pass("given twice, and the first one is ignored")
	}
	k.seen[name] = true
}
