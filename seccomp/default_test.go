package seccomp

import (
	"embed"
	"encoding/json"
	"testing"

	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:embed testdata/*.json
var testdata embed.FS

// engineProfiles returns what engines write into a config.json: Docker 20.10's
// and Podman 5.4's as they were written, and today's Moby's.
func engineProfiles(t testing.TB) map[string]*specs.LinuxSeccomp {
	t.Helper()
	out := map[string]*specs.LinuxSeccomp{}
	for _, name := range []string{"docker-20.10", "podman-5.4"} {
		raw, err := testdata.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		s := &specs.LinuxSeccomp{}
		if err := json.Unmarshal(raw, s); err != nil {
			t.Fatal(err)
		}
		out[name] = s
	}
	s, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{
		Bounding: []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	// It fills in the architectures of the machine that it runs on.
	s.Architectures = []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	out["moby"] = s
	return out
}

func TestEngineProfiles(t *testing.T) {
	for name, s := range engineProfiles(t) {
		t.Run(name, func(t *testing.T) {
			p := mustCompile(t, s, "amd64")
			if n := len(p.Filter); n >= 400 {
				t.Errorf("%d instructions", n)
			}
			if n := bpfvm.Unreached(p.Filter); n != 0 {
				t.Errorf("%d instructions are never reached", n)
			}
			if p.Flags != unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW || p.Notify {
				t.Errorf("flags %#x, notify %v", p.Flags, p.Notify)
			}
			o := newOracle(s, archsOf(s, "amd64"))
			if diff := probe(s, "amd64", running(p.Filter, false), reading(o)); diff != "" {
				t.Error("the program and the profile: " + diff)
			}
		})
	}
}

// TestEngineProfilesElsewhere compiles the same rules for every machine.
func TestEngineProfilesElsewhere(t *testing.T) {
	for name, s := range engineProfiles(t) {
		for _, goarch := range goarchs {
			s := *s
			s.Architectures = nil
			for _, i := range hostABIs(goarch) {
				s.Architectures = append(s.Architectures, specs.Arch(abis[i].name))
			}
			p := mustCompile(t, &s, goarch)
			o := newOracle(&s, archsOf(&s, goarch))
			if diff := probe(&s, goarch, running(p.Filter, abis[hostABIs(goarch)[0]].big), reading(o)); diff != "" {
				t.Error(name + ": " + diff)
			}
		}
	}
}

// goarchs are the machines that Compile knows.
var goarchs = []string{
	"amd64", "386", "arm64", "arm", "mips", "mips64", "mipsle", "mips64le",
	"ppc64", "ppc64le", "s390x", "riscv64", "loong64",
}

// TestCached checks that the kernel can tell beforehand that it need not run
// the filter for the calls that are always allowed.
func TestCached(t *testing.T) {
	for name, s := range engineProfiles(t) {
		p := mustCompile(t, s, "amd64")
		o := newOracle(s, archsOf(s, "amd64"))
		n := 0
		for number := range uint32(512) {
			rules := o.calls[abiX8664][number]
			if len(rules) == 0 || len(rules[0].args) > 0 || rules[0].action != unix.SECCOMP_RET_ALLOW {
				continue
			}
			n++
			if action, constant := bpfvm.Constant(p.Filter, number, unix.AUDIT_ARCH_X86_64); !constant || action != unix.SECCOMP_RET_ALLOW {
				t.Errorf("%s: call %d is not cached as allowed", name, number)
			}
		}
		if n < 250 {
			t.Errorf("%s: only %d calls are allowed", name, n)
		}
	}
}
