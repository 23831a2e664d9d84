package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A step is one test binary that is run. Paths are relative to the payload.
type step struct {
	Name    string
	Dir     string // where it runs
	Args    []string
	Env     []string // added to the environment
	Minutes int      // after which it is ended; go test's own limit is less
	SELinux bool     // it wants a boot of the machine with SELinux, and not AppArmor
}

// A plan is what the machine is told to do: a file of the payload.
type plan struct{ Steps []step }

// planFile is the plan's name in the payload.
const planFile = "plan.json"

// An event is a line of what comes back from the machine.
type event struct {
	Step   string
	Output string `json:",omitempty"` // a line of the test binary's, without its end
	Ended  bool   `json:",omitempty"`
	Exit   int    `json:",omitempty"` // with Ended: the exit code, or -1
	Error  string `json:",omitempty"` // with Ended: why there is no exit code
}

// The names of events that belong to no step.
const (
	aboutMachine = "(machine)" // what it is, a line at a time
	allEnded     = "(end)"     // the last event: all steps were run
)

// run runs the step below root, and emits its lines as they come.
func (s step) run(root string, emit func(event)) {
	exit, err := s.exec(root, emit)
	e := event{Step: s.Name, Ended: true, Exit: exit}
	if err != nil {
		e.Exit, e.Error = -1, err.Error()
	}
	emit(e)
}

func (s step) exec(root string, emit func(event)) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.Minutes)*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Dir = root + "/" + s.Dir
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.WaitDelay = 10 * time.Second // for what still holds the pipe
	r, w, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return -1, err
	}
	read := make(chan error, 1)
	go func() { read <- emitLines(r, s.Name, emit) }()
	err = cmd.Wait()
	// A process that the tests forgot may hold the pipe open: it is not waited
	// for longer than this.
	if derr := r.SetReadDeadline(time.Now().Add(cmd.WaitDelay)); derr != nil {
		return -1, derr
	}
	if rerr := <-read; errors.Is(rerr, os.ErrDeadlineExceeded) {
		return -1, errors.New("the tests left a process behind that holds their output open")
	} else if rerr != nil {
		return -1, rerr
	}
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return -1, fmt.Errorf("ended after %d minutes", s.Minutes)
	case err == nil:
		return 0, nil
	case !errors.As(err, &status):
		return -1, err
	}
	if ws := status.Sys().(syscall.WaitStatus); ws.Signaled() {
		return -1, fmt.Errorf("ended by %v", ws.Signal())
	}
	return status.ExitCode(), nil
}

// emitLines emits each line of r, of any length.
func emitLines(r io.Reader, name string, emit func(event)) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if n := len(line); n > 0 && line[n-1] == '\n' {
			line = line[:n-1]
		}
		if line != "" || err == nil {
			emit(event{Step: name, Output: line})
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readPlan reads the plan of the payload at root.
func readPlan(root string) (plan, error) {
	var p plan
	data, err := os.ReadFile(root + "/" + planFile)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(data, &p)
}
