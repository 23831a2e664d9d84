package main

import (
	"encoding/xml"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/tests/bench/floor"
)

func made() *report {
	return &report{
		Date: "2026-01-02 03:04 UTC", Kernel: "6.1", CPU: "2 × x", Commit: "abc", Runs: 3,
		Competitors: []entrant{{"gourd", "0.1"}, {floorName, ""}, {"crun", "1.27"}},
		Rows: []line{
			{Key: "engine", Text: "run, engine's config", Unit: ms, Goals: map[string]float64{"crun": 0.6, floorName: 2},
				Median: map[string]float64{"gourd": 4, floorName: 2.5, "crun": 5}, Spread: map[string]float64{"gourd": 0.25}},
			{Key: "exec", Text: "exec", Unit: ms, Median: map[string]float64{"gourd": 2}, Error: map[string]string{"crun": "exit 1 <no>"}},
		},
	}
}

func TestStatistics(t *testing.T) {
	for _, tt := range []struct {
		samples        []float64
		median, spread float64
	}{
		{[]float64{7}, 7, 0},
		{[]float64{4, 1, 3, 2}, 2.5, 0.75},
		{[]float64{100, 1, 2, 3, 2}, 2, 0.5},
	} {
		if m, s := statistics(tt.samples); m != tt.median || s != tt.spread {
			t.Errorf("statistics(%v) = %v, %v", tt.samples, m, s)
		}
	}
}

func TestMarkdown(t *testing.T) {
	text := made().markdown()
	for _, want := range []string{
		"| run, engine's config | ms | 4.00 ± 0.25 | 2.50 ± 0.00 | 5.00 ± 0.00 | 1.60 (≤ 2) | **0.80** (≤ 0.6) |",
		"| exec | ms | 2.00 ± 0.00 | – | cannot [1] | – | – |",
		"[1] crun: exit 1 <no>",
		"crun 1.27",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestChanges(t *testing.T) {
	old, now := made(), made()
	if c := now.changes(old); c != nil {
		t.Errorf("nothing changed, and %q", c)
	}
	now.Rows[0].Median["gourd"] = 4.6
	c := now.changes(old)
	if len(c) != 2 || !strings.Contains(c[1], "gourd / crun   0.92, was 0.80: WORSE") {
		t.Errorf("%q", c)
	}
}

func TestReplaceMeasured(t *testing.T) {
	got, err := replaceMeasured("a\n"+markBegin+"\nold\n"+markEnd+"\nb\n", "new")
	if err != nil || got != "a\n"+markBegin+"\n\nnew\n"+markEnd+"\nb\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := replaceMeasured("no marks", "new"); err == nil {
		t.Error("a page without marks was taken")
	}
}

func TestSVGIsXML(t *testing.T) {
	r := made()
	r.Competitors[2].Version = `<&">`
	var any struct {
		XMLName xml.Name
		Rects   []struct{} `xml:"rect"`
	}
	if err := xml.Unmarshal([]byte(r.svg()), &any); err != nil {
		t.Fatal(err)
	}
	if len(any.Rects) != 1+3+4 { // the page, the legend, a bar for each value of the charted rows
		t.Errorf("%d rectangles", len(any.Rects))
	}
}

// TestFloor: the floor's plan is what the config says, and travels.
func TestFloor(t *testing.T) {
	s := spec.Example(false)
	s.Root.Path = "/r"
	s.Process.Args = []string{"/bin/true"}
	p, err := compileFloor(s, "/b", "/sys/fs/cgroup/x")
	if err != nil {
		t.Fatal(err)
	}
	if p.Namespaces&unix.CLONE_NEWPID == 0 || p.Namespaces&unix.CLONE_NEWUSER != 0 {
		t.Errorf("namespaces %#x", p.Namespaces)
	}
	var dev *floor.Mount
	for i := range p.Mounts {
		if p.Mounts[i].Target == "/dev" {
			dev = &p.Mounts[i]
		}
	}
	if dev == nil || dev.Type != "tmpfs" || dev.Flags != unix.MS_NOSUID|unix.MS_STRICTATIME || dev.Data != "mode=755,size=65536k" {
		t.Errorf("/dev: %+v", dev)
	}
	data, err := protocol.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.Unmarshal(data, new(floor.Plan)); err != nil {
		t.Fatal(err)
	}
}

func TestChoose(t *testing.T) {
	if c, err := choose("exec,gate"); err != nil || len(c) != 2 || c[1].name != "gate" {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := choose("nothing"); err == nil {
		t.Error("an unknown case was taken")
	}
	usual, _ := choose("")
	all, _ := choose("all")
	if len(usual) >= len(all) {
		t.Error("the slow cases are among the usual ones")
	}
}
