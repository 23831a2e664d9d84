package seccomp

import (
	"encoding/json"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzCompile feeds any JSON: Compile must tell its defects or return a program
// that the kernel would take and that means what the second oracle reads.
func FuzzCompile(f *testing.F) {
	for _, name := range []string{"docker-20.10", "podman-5.4"} {
		raw, err := testdata.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, uint8(0))
	}
	for i := range differences {
		raw, err := json.Marshal(differences[i].profile())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, uint8(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, machine uint8) {
		s := &specs.LinuxSeccomp{}
		if json.Unmarshal(raw, s) != nil {
			return
		}
		goarch := goarchs[int(machine)%len(goarchs)]
		var d defect.List
		p, _ := compile(s, Env{Arch: goarch}, &d, compileGo)
		if (p == nil) != (len(d) > 0) {
			t.Fatalf("program %v, defects %v", p, d)
		}
		if p == nil {
			return
		}
		if err := bpfvm.Check(p.Filter); err != nil {
			t.Fatal(err)
		}
		if n := bpfvm.Unreached(p.Filter); n != 0 {
			t.Fatalf("%d instructions are never reached", n)
		}
		if n := len(boundaries(s)); n > 2000 {
			return // too many to ask about each time
		}
		o := newOracle(s, archsOf(s, goarch))
		if diff := probe(s, goarch, running(p.Filter, abis[hostABIs(goarch)[0]].big), reading(o)); diff != "" {
			t.Fatal(diff)
		}
	})
}
