// Package trace notes how long each step of gourd takes, for --trace: those of
// the runtime, and those that init sends it. Off, as it nearly always is, a step
// costs a look at a variable: no call to the clock, and no memory.
//
// A step is a span of time, and what is in it lies in it:
//
//	defer trace.Begin("make the cgroup").End()
//
// It knows nothing of what is traced, and prints nothing; the file that it writes
// is read by package chart, and by Perfetto.
package trace

import (
	"os"
	"sync"
	"time"
)

// Event is a step: plain data, for init's go through package protocol.
type Event struct {
	Name  string // "mount"
	What  string // which one: "/dev/pts"; may be empty
	Start int64  // nanoseconds since 1970
	Took  int64  // nanoseconds; -1: not yet over
}

// process is whose events they are.

type process struct {
	name   string
	pid    int
	events []Event
}

// on is set at the start of the process and never again.
var on bool

// recorder holds what is noted. Its clock is the wall's at the beginning, and
// from there on the monotonic one: of two processes the former is one also where
// a time namespace is between them, and the latter never jumps.
var recorder struct {
	sync.Mutex
	base   time.Time
	own    process
	others []process
}

// now is the clock, for the test that it is left alone.
var now = time.Now

// Start turns tracing on, as of a process of that name, and begins a span of the
// name that ends with the trace. age is for how long the process has been at work
// already, which becomes a step; 0: nobody knows.
func Start(name string, age time.Duration) {
	recorder.base = now()
	recorder.own = process{name: name, pid: os.Getpid(), events: make([]Event, 0, 64)}
	on = true
	Begin(name)
	if age > 0 {
		whole := &recorder.own.events[0]
		whole.Start -= int64(age)
		recorder.own.events = append(recorder.own.events, Event{"start of the program", "", whole.Start, int64(age)})
	}
}

// On reports whether steps are noted.
func On() bool { return on }

// Span is a step that has begun. Its zero value is none.
type Span struct{ at int }

// Begin begins a step.
func Begin(name string) Span {
	if !on {
		return Span{}
	}
	return begin(name, "")
}

// BeginOf begins a step with one of many things.
func BeginOf(name, what string) Span {
	if !on {
		return Span{}
	}
	return begin(name, what)
}

// End ends the step.
func (s Span) End() {
	if s.at != 0 {
		end(s.at)
	}
}

// Do is f as a step.
func Do(name string, f func() error) error {
	if !on {
		return f()
	}
	defer begin(name, "").End()
	return f()
}

func begin(name, what string) Span {
	recorder.Lock()
	defer recorder.Unlock()
	recorder.own.events = append(recorder.own.events, Event{name, what, clock(), -1})
	return Span{len(recorder.own.events)}
}

func end(at int) {
	recorder.Lock()
	defer recorder.Unlock()
	e := &recorder.own.events[at-1]
	e.Took = clock() - e.Start
}

// clock returns nanoseconds since 1970. The lock is held.
func clock() int64 { return recorder.base.UnixNano() + int64(now().Sub(recorder.base)) }

// Events returns all that was noted so far; what is not over ends now. It is nil
// when tracing is off.
func Events() []Event {
	if !on {
		return nil
	}
	recorder.Lock()
	defer recorder.Unlock()
	return recorder.own.closed(clock())
}

// closed returns the events, all of them with an end.
func (p *process) closed(now int64) []Event {
	list := append([]Event(nil), p.events...)
	for i := range list {
		if list[i].Took < 0 {
			list[i].Took = now - list[i].Start
		}
	}
	return list
}

// Add takes over the events of another process, in the place of those that it
// has sent before. What is not traced sends none.
func Add(name string, pid int, events []Event) {
	if !on || len(events) == 0 {
		return
	}
	recorder.Lock()
	defer recorder.Unlock()
	for i := range recorder.others {
		if recorder.others[i].pid == pid {
			recorder.others[i].events = events
			return
		}
	}
	recorder.others = append(recorder.others, process{name, pid, events})
}
