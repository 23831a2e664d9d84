// Command bench measures gourd beside every other runtime that is there (runc,
// crun, youki), interleaved in one run, and beside the floor: the kernel's own
// work with no runtime around it. It writes the table and the picture of
// docs/performance.md, and tells which ratio has changed since they were
// written. It judges nothing: no test asserts on time.
//
//	go run ./tests/bench [-n RUNS] [-cases LIST] [-runtimes LIST] [-docs DIR]
//
// It needs root, and busybox. All happens in mount and pid namespaces of its own
// with a pure cgroup v2 view: whatever a runtime leaves behind ends with it.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// options is the command line.
type options struct {
	runs     int
	alive    int
	cases    string
	runtimes string
	gourd    string
	docs     string
	stage    string
	dir      string
}

func main() {
	var o options
	flag.IntVar(&o.runs, "n", 20, "how many measured `runs` of each case")
	flag.StringVar(&o.cases, "cases", "", "a comma separated `list` of cases; \"all\": the slow ones too (default: all but those)")
	flag.StringVar(&o.runtimes, "runtimes", "gourd,crun,runc,youki", "a comma separated `list` of runtimes: names looked up in $PATH, or NAME=PATH")
	flag.StringVar(&o.gourd, "gourd", "bin/gourd", "the gourd to measure")
	flag.StringVar(&o.docs, "docs", "", "write performance.md, .svg and .json into this `directory` (default: print only)")
	flag.IntVar(&o.alive, "alive", 1000, "how many containers are alive in the case of that name")
	flag.StringVar(&o.stage, "stage", "", "for its own use")
	flag.StringVar(&o.dir, "dir", "", "for its own use")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./tests/bench [flags]; the cases are:")
		for i := range groups {
			slow := ""
			if groups[i].slow {
				slow = " (slow)"
			}
			fmt.Fprintf(os.Stderr, "  %-10s %s%s\n", groups[i].name, groups[i].about, slow)
		}
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := stage(&o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// stage plays one of the three parts: of who calls, of who sees the private view
// of the cgroups and cleans up, and of pid 1 there, who measures.
func stage(o *options) error {
	switch o.stage {
	case "":
		return prepare(o)
	case "view":
		return inView(o)
	case "measure":
		return measure(o)
	}
	return fmt.Errorf("unknown stage %q", o.stage)
}

// prepare builds the floor and goes into the private view.
func prepare(o *options) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("containers need root")
	}
	var err error
	if o.gourd, err = filepath.Abs(o.gourd); err != nil {
		return err
	}
	if _, err := os.Stat(o.gourd); err != nil {
		return fmt.Errorf("%w (make build)", err)
	}
	dir, err := os.MkdirTemp("", "gourd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "linked"), "./tests/bench/floor/run")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the floor (is this the repository's root?): %w", err)
	}
	if err := install(filepath.Join(dir, "linked"), filepath.Join(dir, "floor")); err != nil {
		return err
	}
	if err := install(o.gourd, filepath.Join(dir, "gourd")); err != nil {
		return err
	}
	o.gourd = filepath.Join(dir, "gourd")
	return again(o, "view", dir)
}

// install copies a program as install(1) does, and as the other runtimes came to
// be where they are. A file that has just been linked was written a page here and
// a page there, and lies in memory so; each execution of it costs a fifth more
// page faults than that of its copy.
func install(from, to string) error {
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}

// measure runs the cases and reports.
func measure(o *options) error {
	b, err := newBench(o)
	if err != nil {
		return err
	}
	chosen, err := choose(o.cases)
	if err != nil {
		return err
	}
	for _, g := range chosen {
		fmt.Fprintf(os.Stderr, "%s: %s\n", g.name, g.about)
		b.run(g)
	}
	r := b.report(time.Now())
	old, _ := readReport(filepath.Join(o.docs, reportJSON))
	if o.docs == "" {
		old, _ = readReport(filepath.Join("docs", reportJSON))
	}
	fmt.Print(r.markdown())
	if changes := r.changes(old); len(changes) > 0 {
		fmt.Printf("\nRatios that changed by more than a tenth since %s:\n%s\n", old.Date, strings.Join(changes, "\n"))
	}
	if o.docs == "" {
		return nil
	}
	return r.save(o.docs)
}

// choose returns the groups of -cases.
func choose(list string) (chosen []*group, err error) {
	for i := range groups {
		if list == "all" || list == "" && !groups[i].slow {
			chosen = append(chosen, &groups[i])
		}
	}
	if list == "" || list == "all" {
		return chosen, nil
	}
next:
	for name := range strings.SplitSeq(list, ",") {
		for i := range groups {
			if groups[i].name == name {
				chosen = append(chosen, &groups[i])
				continue next
			}
		}
		return nil, fmt.Errorf("there is no case %q; see -help", name)
	}
	return chosen, nil
}
