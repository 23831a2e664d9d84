package trace

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestOff: without a trace a step costs no memory, and does not ask for the time.
func TestOff(t *testing.T) {
	asked := 0
	now = func() time.Time { asked++; return time.Now() }
	defer func() { now = time.Now }()
	name := "x"
	work := func() error { return nil }
	n := testing.AllocsPerRun(100, func() {
		defer Begin("a step").End()
		defer BeginOf("a step of", name).End()
		_ = Do("a step", work)
		Add("other", 1, nil)
	})
	if n != 0 || asked != 0 || On() || Events() != nil {
		t.Errorf("off: %v allocations, the clock was read %d times", n, asked)
	}
}

// TestOn: steps have their times, those that are open end with the trace.
func TestOn(t *testing.T) {
	tick := time.Unix(1000, 0)
	now = func() time.Time { tick = tick.Add(time.Millisecond); return tick }
	defer func() { now, on = time.Now, false }()
	Start("gourd x", 250*time.Microsecond)
	a := BeginOf("a", "1")
	Begin("b").End()
	a.End()
	got := Events()
	const ms = 1_000_000
	base := time.Unix(1000, 0).UnixNano() + ms
	want := []Event{
		{"gourd x", "", base + ms - 250_000, 5*ms + 250_000}, {"start of the program", "", base + ms - 250_000, 250_000},
		{"a", "1", base + 2*ms, 3 * ms}, {"b", "", base + 3*ms, ms},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

type written struct {
	Name string
	PH   string
	TS   float64
	Dur  float64
	PID  int
	TID  int
}

// read reads a file of traces as any reader of JSON does.
func read(t *testing.T, name string) (events []written) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &events); err != nil {
		t.Fatalf("%v:\n%s", err, data)
	}
	return events
}

// TestSave: a second trace is put behind the first, on the same clock.
func TestSave(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.json")
	for i := range int64(2) {
		f, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		start := int64(1_700_000_000_000_000_000) + i*5000
		if err := save(f, []process{{"gourd x", 7, []Event{{"all", "", start, 3000}, {"part", "\"1\"", start + 1001, 1}}}, {"init", 8, nil}}); err != nil {
			t.Fatal(err)
		}
	}
	events := read(t, name)
	if len(events) != 1+2*4 {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	if e := events[7]; e.Name != `part "1"` || e.PH != "X" || e.TS != 6.001 || e.Dur != 0.001 || e.PID != 7 || e.TID != 7 {
		t.Errorf("%+v", e)
	}
}

// TestForeign: a file that is something else is left alone.
func TestForeign(t *testing.T) {
	for _, text := range []string{"hello", "[\n]\n", "[\n{\"name\":\"x\"},\n{}\n]\n", "[\n{\"name\":\"gourd trace\",\"args\":{\"unix_ns\":\"1\"}},\n{}"} {
		name := filepath.Join(t.TempDir(), "t.json")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if f, err := Open(name); err == nil {
			f.Close()
			t.Errorf("%q was taken for a trace", text)
		}
		if now, _ := os.ReadFile(name); string(now) != text {
			t.Errorf("%q became %q", text, now)
		}
	}
	if _, err := Open("/dev/null"); err == nil {
		t.Error("a device was taken for a file")
	}
}

// TestLanes: what overlaps without nesting goes on another lane.
func TestLanes(t *testing.T) {
	p := process{events: []Event{{"all", "", 0, 100}, {"a", "", 10, 30}, {"beside a", "", 20, 40}, {"in a", "", 12, 5}, {"after", "", 60, 40}}}
	got := map[string]int{}
	for _, e := range p.lanes() {
		got[e.Name] = e.lane
	}
	for name, lane := range map[string]int{"all": 0, "a": 0, "in a": 0, "beside a": 1, "after": 0} {
		if got[name] != lane {
			t.Errorf("%s is on lane %d, want %d", name, got[name], lane)
		}
	}
}
