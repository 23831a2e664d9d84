package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestTablesMatchTheirSource checks that zsyscalls.go is what go generate would
// write from the version of golang.org/x/sys that go.mod names.
func TestTablesMatchTheirSource(t *testing.T) {
	dir, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../zsyscalls.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("seccomp/zsyscalls.go is not what its source gives: run go generate ./seccomp")
	}
}

// TestCoverage checks that every file of the source is read or known to be
// left out, and says what is missing.
func TestCoverage(t *testing.T) {
	dir, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "zsysnum_linux_*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	read := []string{"sparc64"} // not in the runtime-spec
	for _, tb := range tables {
		read = append(read, tb.same...)
	}
	for _, f := range files {
		goarch := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "zsysnum_linux_"), ".go")
		if !slices.Contains(read, goarch) {
			t.Errorf("%s is not read", f)
		}
	}
	for _, name := range missing {
		t.Logf("no table for %s: its programs are killed under a filter", name)
	}
	if !slices.Contains(missing, string(specs.ArchS390)) {
		t.Error("the list of what is missing is not complete")
	}
}

// TestByHand checks the lists made by hand against what they change.
func TestByHand(t *testing.T) {
	dir, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	amd64, err := parse(dir, "amd64", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range x32Own {
		if n, ok := amd64[c.name]; !ok || n == c.slot {
			t.Errorf("%s is %d on x86-64 and %d on x32", c.name, n, c.slot)
		}
	}
	for _, name := range x32Absent {
		if _, ok := amd64[name]; !ok {
			t.Errorf("%s is not on x86-64", name)
		}
	}
	arm, err := parse(dir, "arm", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range armPrivate {
		if n, ok := arm[c.name]; ok {
			t.Errorf("the source now has %s for arm, %d: take it from there", c.name, n)
		}
	}
	if len(x32Own) != 36 || len(x32Absent) != 11 || len(armPrivate) != 6 || len(subcalls) != 32 {
		t.Error("a list has another length")
	}
}
