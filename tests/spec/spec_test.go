package spec

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
)

// TestEveryPropertyHasARow walks the spec's Go types: every property has one
// row, and every row names one.
func TestEveryPropertyHasARow(t *testing.T) {
	properties := propertiesOf(reflect.TypeFor[specs.Spec](), "", nil)
	if len(properties) < 200 {
		t.Fatalf("only %d properties", len(properties))
	}
	told := map[string]bool{}
	for _, r := range table(t, "| property | state | shown by | remark |") {
		name := r.names[0]
		if told[name] {
			t.Errorf("%s has two rows", name)
		}
		told[name] = true
		if !slices.Contains(properties, name) {
			t.Errorf("%s is no property of the spec", name)
		}
		r.check(t, inScripts(name)...)
	}
	for _, p := range properties {
		if !told[p] {
			t.Errorf("%s has no row", p)
		}
	}
}

// propertiesOf appends the properties of a type, each by its JSON path: x[] is
// an element of a list, x.* a value of a map. Those of another platform are
// named, and not looked into.
func propertiesOf(t reflect.Type, path string, list []string) []string {
	switch t.Kind() {
	case reflect.Pointer:
		return propertiesOf(t.Elem(), path, list)
	case reflect.Slice:
		return propertiesOf(t.Elem(), path+"[]", list)
	case reflect.Map:
		return propertiesOf(t.Elem(), path+".*", list)
	case reflect.Struct:
	default:
		return list
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			list = propertiesOf(f.Type, path, list)
			continue
		}
		if path != "" {
			name = path + "." + name
		}
		list = append(list, name)
		if platform := f.Tag.Get("platform"); platform == "" || slices.Contains(strings.Split(platform, ","), "linux") {
			list = propertiesOf(f.Type, name, list)
		}
	}
	return list
}

// inScripts returns the words by which a script uses a property: the words for
// jq of tests/integration, or the name itself.
func inScripts(property string) []string {
	switch property {
	case "process.args":
		return []string{"args([", "sh("}
	case "process.env":
		return []string{".process.env"}
	case "mounts", "mounts[].destination", "mounts[].type", "mounts[].source", "mounts[].options":
		return []string{"mnt(", "bind(", ".mounts"}
	case "linux.namespaces[].type":
		return []string{"newns(", "joinns("}
	case "linux.namespaces[].path":
		return []string{"joinns("}
	case "linux.resources":
		return []string{"linux.resources", "linux.cgroupsPath"}
	}
	if strings.HasPrefix(property, "hooks") {
		return []string{"hook(", "hooks."}
	}
	leaf := property[strings.LastIndexByte(property, '.')+1:]
	return []string{leaf}
}

// TestEveryMountOptionHasARow holds the page against the table of the code,
// which a test of package rootfs holds against the spec.
func TestEveryMountOptionHasARow(t *testing.T) {
	var names []string
	for _, r := range table(t, "| option | shown by | remark |") {
		names = append(names, r.names[0])
		r.check(t, strconv.Quote(r.names[0]))
	}
	if want := rootfs.MountOptions(); !slices.Equal(names, want) {
		t.Errorf("got  %v\nwant %v", names, want)
	}
}

// TestEveryValueHasARow holds the page against the constants of the spec's Go
// package, whose types say what they are values of, and the resources that
// Linux limits, of which the spec has no list.
func TestEveryValueHasARow(t *testing.T) {
	want := constants(t, map[string]string{
		"LinuxNamespaceType":     "linux.namespaces[].type",
		"LinuxSchedulerPolicy":   "process.scheduler.policy",
		"LinuxSchedulerFlag":     "process.scheduler.flags",
		"IOPriorityClass":        "process.ioPriority.class",
		"LinuxPersonalityDomain": "linux.personality.domain",
		"LinuxPersonalityFlag":   "linux.personality.flags",
		"MemoryPolicyModeType":   "linux.memoryPolicy.mode",
		"MemoryPolicyFlagType":   "linux.memoryPolicy.flags",
		"LinuxSeccompAction":     "linux.seccomp.syscalls[].action",
		"LinuxSeccompOperator":   "linux.seccomp.syscalls[].args[].op",
		"LinuxSeccompFlag":       "linux.seccomp.flags",
		"Arch":                   "linux.seccomp.architectures",
	})
	for _, name := range resources {
		want["process.rlimits[].type "+name] = true
	}
	for _, r := range table(t, "| property | value | state | shown by | remark |") {
		key := strings.Join(r.names, " ")
		if !want[key] {
			t.Errorf("%s is no value of the spec, or has two rows", key)
		}
		delete(want, key)
		r.check(t, r.names[1])
	}
	for key := range want {
		t.Errorf("%s has no row", key)
	}
}

// resources are those of getrlimit(2), by their numbers.
var resources = [...]string{
	unix.RLIMIT_AS: "RLIMIT_AS", unix.RLIMIT_CORE: "RLIMIT_CORE", unix.RLIMIT_CPU: "RLIMIT_CPU", unix.RLIMIT_DATA: "RLIMIT_DATA",
	unix.RLIMIT_FSIZE: "RLIMIT_FSIZE", unix.RLIMIT_LOCKS: "RLIMIT_LOCKS", unix.RLIMIT_MEMLOCK: "RLIMIT_MEMLOCK", unix.RLIMIT_MSGQUEUE: "RLIMIT_MSGQUEUE",
	unix.RLIMIT_NICE: "RLIMIT_NICE", unix.RLIMIT_NOFILE: "RLIMIT_NOFILE", unix.RLIMIT_NPROC: "RLIMIT_NPROC", unix.RLIMIT_RSS: "RLIMIT_RSS",
	unix.RLIMIT_RTPRIO: "RLIMIT_RTPRIO", unix.RLIMIT_RTTIME: "RLIMIT_RTTIME", unix.RLIMIT_SIGPENDING: "RLIMIT_SIGPENDING", unix.RLIMIT_STACK: "RLIMIT_STACK",
}

// TestEveryResourceIsKnown: the code knows them all by the same numbers.
func TestEveryResourceIsKnown(t *testing.T) {
	p := &specs.Process{Args: []string{"true"}, Cwd: "/"}
	for _, name := range resources {
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: name})
	}
	var d defect.List
	plan, _ := credentials.Compile(p, nil, credentials.Env{}, &d)
	if len(d) > 0 {
		t.Fatal(d)
	}
	for i, r := range plan.Rlimits {
		if r.Resource != i {
			t.Errorf("%s is resource %d, not %d", resources[i], r.Resource, i)
		}
	}
}

// constants returns the constants of these types in the spec's Go package, each
// as "PROPERTY VALUE".
func constants(t *testing.T, types map[string]string) map[string]bool {
	t.Helper()
	pkg, err := build.Import(reflect.TypeFor[specs.Spec]().PkgPath(), ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(pkg.Dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", pkg.Dir, err)
	}
	values := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			property := types[fmt.Sprint(v.Type)]
			for _, value := range v.Values {
				if text, err := strconv.Unquote(literal(value)); err == nil && property != "" {
					values[property+" "+text] = true
				}
			}
			return true
		})
	}
	if len(values) < 60 {
		t.Fatalf("only %d constants in %s", len(values), pkg.Dir)
	}
	return values
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok {
		return l.Value
	}
	return ""
}

// TestOtherTopics: the page names only tests that there are.
func TestOtherTopics(t *testing.T) {
	for _, r := range table(t, "| topic | state | shown by | remark |") {
		r.check(t, "")
	}
}
