package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gourd-oci/gourd/"

// levels are the layers of docs/architecture.md, lowest first. A package
// imports only from levels below its own; where one says so, its packages may
// import those that stand before them in it.
var levels = []struct {
	name     string
	ordered  bool
	packages []string
}{
	{"L0, the ground", true, []string{
		"internal/bornwith", "internal/trace", "internal/defect", "internal/cleanup", "internal/linux", "libcontainer/host",
	}},
	{"L1, the mechanisms", false, []string{
		"nsenter", "cgroups", "seccomp", "hooks", "notify", "criu", "resctrl",
		"libcontainer/spec", "libcontainer/rootfs", "libcontainer/credentials", "libcontainer/landlock", "libcontainer/protocol", "libcontainer/netdevices",
	}},
	{"L2, the plan and the container's side", true, []string{
		"libcontainer/state", "libcontainer/plan", "libcontainer/initproc",
	}},
	{"L3, the verbs", true, []string{
		"libcontainer", "prepare", "supervise",
	}},
	{"L4, the command line", true, []string{
		"cli", "", "cmd",
	}},
}

// place returns the level of a package of gourd and its place there. A
// package below a listed one belongs to it.
func place(pkg string) (level, at int, ok bool) {
	best := -1
	for l, lv := range levels {
		for i, p := range lv.packages {
			if (pkg == p || p != "" && strings.HasPrefix(pkg, p+"/")) && len(p) > best {
				best, level, at, ok = len(p), l, i, true
			}
		}
	}
	return level, at, ok
}

// mayImport tells whether from may import to, and why not.
func mayImport(from, to string) (bool, string) {
	if strings.HasPrefix(from, "tests/") {
		return true, ""
	}
	fl, fi, ok := place(from)
	if !ok {
		return false, from + " is in no layer: give it one here and in docs/architecture.md"
	}
	tl, ti, ok := place(to)
	if !ok {
		return false, to + " is in no layer: give it one here and in docs/architecture.md"
	}
	switch {
	case tl < fl:
		return true, ""
	case tl > fl:
		return false, "it is above: " + levels[tl].name + " from " + levels[fl].name
	case fi == ti:
		return true, "" // parts of one package
	case !levels[fl].ordered:
		return false, "both are in " + levels[fl].name + ", whose packages do not know each other"
	case ti < fi:
		return true, ""
	}
	return false, "in " + levels[fl].name + " it comes later"
}

// source is one Go file.
type source struct {
	path string // from the repository's root
	dir  string // the package, "" for the root
	test bool
	file *ast.File
}

// oracle tells whether the file is built only with the tag libseccomp, which
// is the oracle for the tests of package seccomp.
func (s source) oracle() bool {
	for _, g := range s.file.Comments {
		for _, c := range g.List {
			if c.Text == "//go:build libseccomp" {
				return true
			}
		}
	}
	return false
}

// sources parses every Go file of the repository.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		if dir == "." {
			dir = ""
		}
		all = append(all, source{path, dir, strings.HasSuffix(path, "_test.go"), f})
	})
	if len(all) == 0 {
		t.Fatal("no Go files found")
	}
	return all
}

// root is the repository, seen from this directory.
const root = "../.."

// walk calls f with each file of the repository, but for what is built or
// fetched.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == "bin" || rel == "coverage" || rel != "." && strings.HasPrefix(d.Name(), ".") && rel != ".ci" {
				return filepath.SkipDir
			}
			return nil
		}
		f(rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestImportsPointDown checks every import of one gourd package by another.
func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue // a test may look at anything
		}
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			if ok, why := mayImport(s.dir, to); !ok {
				t.Errorf("%s imports %s: %s", s.path, to, why)
			}
		}
	}
}

// TestMayImport shows that the rule can say no.
func TestMayImport(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"libcontainer", "cgroups", true},
		{"cgroups", "libcontainer", false},
		{"cgroups", "nsenter", false},
		{"cgroups", "internal/linux", true},
		{"cgroups/devices", "cgroups", true},
		{"internal/linux", "internal/cleanup", true},
		{"internal/cleanup", "internal/linux", false},
		{"libcontainer/initproc", "libcontainer/plan", true},
		{"libcontainer/plan", "libcontainer/initproc", false},
		{"libcontainer/plan", "libcontainer/spec", true},
		{"libcontainer/spec", "libcontainer/plan", false},
		{"supervise", "libcontainer", true},
		{"cli", "libcontainer", true},
		{"libcontainer", "cli", false},
		{"", "cli", true},
		{"", "libcontainer/initproc", true},
		{"nowhere", "cgroups", false},
	} {
		if got, why := mayImport(tt.from, tt.to); got != tt.want {
			t.Errorf("mayImport(%q, %q) = %v (%s)", tt.from, tt.to, got, why)
		}
	}
}

// TestPackageDocs checks that each package opens with what it is.
func TestPackageDocs(t *testing.T) {
	type docs struct {
		name  string
		texts []string
	}
	packages := map[string]*docs{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		p := packages[s.dir]
		if p == nil {
			p = &docs{name: s.file.Name.Name}
			packages[s.dir] = p
		}
		if s.file.Doc != nil {
			p.texts = append(p.texts, s.file.Doc.Text())
		}
	}
	for dir, p := range packages {
		if p.name == "main" {
			if len(p.texts) == 0 {
				t.Errorf("the command in %q has no package comment", dir)
			}
			continue
		}
		if len(p.texts) != 1 {
			t.Errorf("package %s has %d package comments, want 1", dir, len(p.texts))
			continue
		}
		if !strings.HasPrefix(p.texts[0], "Package "+p.name+" ") {
			t.Errorf("package %s: its comment does not start with %q", dir, "Package "+p.name)
		}
	}
}

// TestNoC checks that there is no C, and cgo only in the oracle.
func TestNoC(t *testing.T) {
	walk(t, func(path string) {
		switch filepath.Ext(path) {
		case ".c", ".h", ".cc", ".cpp", ".hpp", ".cxx":
			t.Errorf("%s is C", path)
		}
	})
	for _, s := range sources(t) {
		for _, i := range s.file.Imports {
			if i.Path.Value == `"C"` && !s.oracle() {
				t.Errorf("%s uses cgo", s.path)
			}
		}
	}
}

// TestUnsafeHasItsFiles checks that package unsafe is imported only by files
// that are named for it, where its preconditions are written down.
func TestUnsafeHasItsFiles(t *testing.T) {
	for _, s := range sources(t) {
		for _, i := range s.file.Imports {
			if i.Path.Value == `"unsafe"` && !strings.Contains(filepath.Base(s.path), "_unsafe") && !s.test && !s.oracle() {
				t.Errorf("%s imports unsafe", s.path)
			}
		}
	}
}

// TestNoVagueNames checks that no package is named for not being anything in
// particular.
func TestNoVagueNames(t *testing.T) {
	for _, s := range sources(t) {
		switch filepath.Base(s.dir) {
		case "util", "utils", "common", "helper", "helpers", "misc":
			t.Errorf("%s: a package named %s", s.path, filepath.Base(s.dir))
		}
	}
}
