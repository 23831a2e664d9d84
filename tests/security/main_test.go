package security

import (
	"debug/elf"
	"os"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "play" {
		os.Exit(play(os.Args[2], os.Args[3:])) // a process of an attack
	}
	world.Main(m, map[string]world.Inside{"attack": runAttack})
}

// An attack is what a vulnerability let happen, done to the runtime under test.
type attack struct {
	name string
	run  func(*lab)
}

// viaInit is what follows an attack's name for the second way: create, run and exec
// have two, without a Go program inside, and through gourd's init.
const viaInit = " via init"

// attacks returns them all: the vulnerabilities first, by their names.
func attacks() []attack {
	return []attack{
		{"CVE-2016-3697", numericUser},
		{"CVE-2016-8867", ambientCapabilities},
		{"CVE-2016-9962", hostFilesDuringExec},
		{"CVE-2019-5736", overwriteRuntime},
		{"CVE-2019-16884", fakeProc},
		{"CVE-2019-18837", symlinkedDestination},
		{"CVE-2019-19921", symlinkedProcInVolume},
		{"CVE-2021-30465", swappedMountTarget},
		{"CVE-2021-43784", oversizedAttributes},
		{"CVE-2022-29162", inheritableOnExec},
		{"CVE-2022-24769", inheritableOnRun},
		{"CVE-2023-25809", writableCgroups},
		{"CVE-2023-27561", symlinkedProc},
		{"CVE-2023-28642", symlinkedProcBound},
		{"CVE-2024-21626", leakedDirectory},
		{"CVE-2024-45310", swappedWhileMaking},
		{"CVE-2025-31133", swappedNull},
		{"CVE-2025-52565", swappedConsole},
		{"CVE-2025-52881", redirectedSysctl},
		{"CVE-2025-54867", symlinkedRootfs},
		{"CVE-2026-30892", execUser},
		{"CVE-2026-41579", symlinkedDev},
		{"GHSA-3q8j-pf29-vwv8", swappedReadonlyPath},

		{"no-fd-of-the-host", noHostFiles},
		{"init-before-execve", initBeforeExecve},
		{"masks", masks},
	}
}

// TestAttacks runs every attack, in both ways. One alone:
//
//	go test ./tests/security -run 'TestAttacks/CVE-2019-5736' -v
func TestAttacks(t *testing.T) {
	if os.Geteuid() == 0 {
		if _, err := world.FindRuntime(); err != nil {
			t.Fatal(err)
		}
		requireStatic(t)
	}
	for _, a := range attacks() {
		for _, way := range []string{"", viaInit} {
			t.Run(a.name+way, func(t *testing.T) { world.Run(t, "attack", a.name+way) })
		}
	}
}

// requireStatic checks that this binary, which plays the image's programs, can
// run in a root filesystem where nothing else is.
func requireStatic(t *testing.T) {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Fatal("this test must be a static binary: set CGO_ENABLED=0, as the Makefile does")
		}
	}
}

// TestListed holds SECURITY.md and README.md to naming every attack that a
// vulnerability is named after.
func TestListed(t *testing.T) {
	for _, file := range []string{"../../SECURITY.md", "README.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attacks() {
			if !strings.Contains(string(text), a.name) {
				t.Errorf("%s does not name %s", file, a.name)
			}
		}
	}
}
