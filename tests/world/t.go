package world

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// T is what an inside has for a testing.T; the result goes to the real one
// outside. It is a testscript.T too. One goroutine uses it at a time.
type T struct {
	log     strings.Builder
	failed  bool
	skipped bool
	reason  string
}

var _ testscript.T = (*T)(nil)

// do runs f on a goroutine of its own, which Fatal, FailNow and Skip end.
func (t *T) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				buf := make([]byte, 64<<10)
				t.failed = true
				t.Log("panic:", r, string(buf[:runtime.Stack(buf, false)]))
			}
		}()
		f()
	}()
	<-done
}

// Log adds a line to what is shown when the test fails.
func (t *T) Log(args ...any) { fmt.Fprintln(&t.log, args...) }

// Logf is Log with a format.
func (t *T) Logf(format string, args ...any) { t.Log(fmt.Sprintf(format, args...)) }

// Errorf logs and fails, and goes on.
func (t *T) Errorf(format string, args ...any) {
	t.Logf(format, args...)
	t.failed = true
}

// Fatal logs, fails and ends the goroutine.
func (t *T) Fatal(args ...any) {
	t.Log(args...)
	t.FailNow()
}

// Fatalf is Fatal with a format.
func (t *T) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }

// FailNow fails and ends the goroutine.
func (t *T) FailNow() {
	t.failed = true
	runtime.Goexit()
}

// Failed tells whether the test has failed.
func (t *T) Failed() bool { return t.failed }

// Skip ends the goroutine; the test outside is skipped with the reason.
func (t *T) Skip(args ...any) {
	t.skipped = true
	t.reason = strings.TrimSpace(fmt.Sprintln(args...))
	runtime.Goexit()
}

// Parallel does nothing: a world is alone.
func (t *T) Parallel() {}

// Run runs f as a part of this test.
func (t *T) Run(name string, f func(testscript.T)) {
	sub := &T{}
	sub.do(func() { f(sub) })
	t.log.WriteString(sub.log.String())
	t.failed = t.failed || sub.failed
	t.skipped = t.skipped || sub.skipped
	if sub.reason != "" {
		t.reason = sub.reason
	}
}

// Verbose tells testscript to log every command.
func (t *T) Verbose() bool { return true }
