package rootfs

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// TestOpenSource looks sources up from a made-up root directory of init.
func TestOpenSource(t *testing.T) {
	dir := t.TempDir()
	mkdir(t, dir+"/src")
	mkdir(t, dir+"/b/rootfs")
	symlink(t, "/src", dir+"/link")
	root, err := linux.Openat(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, "open", err)
	defer unix.Close(root)
	p := &Plan{Bundle: "/b", Rootfs: "/b/rootfs", Mounts: []Mount{
		{Where: "mounts[0]", Kind: Bind, Source: "/link"},
		{Where: "mounts[1]", Kind: Filesystem, Fallback: "/src"},
		{Where: "mounts[2]", Kind: Filesystem, Source: "/src"},
		{Where: "mounts[3]", Kind: Bind, Source: "/missing"},
	}}
	for _, tt := range []struct {
		mount int
		path  string // what is opened, or
		err   string // is in the error
	}{
		{0, "/src", ""},
		{1, "/src", ""},
		{RootSource, "/b/rootfs", ""},
		{2, "", "no source on the host"},
		{3, "", "open source /missing"},
		{4, "", "does not exist"},
		{-2, "", "does not exist"},
	} {
		fd, err := p.OpenSource(root, tt.mount)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%d gives %v, want %q", tt.mount, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d: %v", tt.mount, err)
			continue
		}
		if got, err := os.Readlink(fdPath(fd)); err != nil || got != dir+tt.path {
			t.Errorf("%d opens %s (%v), want %s", tt.mount, got, err, dir+tt.path)
		}
		unix.Close(fd)
	}
}

// runtimeOf is a Runtime that counts what it is asked.
type runtimeOf struct {
	opened, mapped []int
}

func (r *runtimeOf) Open(mount int) (int, error) {
	r.opened = append(r.opened, mount)
	return -1, unix.ENOENT
}

func (r *runtimeOf) Map(mount, _ int) error {
	r.mapped = append(r.mapped, mount)
	return unix.ENOTSUP
}

// TestRuntimeIsAskedOnlyWhenNeeded: a mount that init can make is made without
// a word, and an id mapping is asked for before anything can be seen.
func TestRuntimeIsAskedOnlyWhenNeeded(t *testing.T) {
	isolated(t, func(dir string) {
		mkdir(t, dir+"/src")
		ids := []specs.LinuxIDMapping{{HostID: 1000, Size: 1}}
		p := planFor(t, dir, example(
			specs.Mount{Source: "src", Destination: "/a", Options: opts("bind")},
			specs.Mount{Source: "src", Destination: "/b", Options: opts("bind"), UIDMappings: ids, GIDMappings: ids},
		))
		p.AskSources = true
		rt := new(runtimeOf)
		r, err := Open(p, rt)
		must(t, "Open", err)
		defer r.Close()
		if err := r.Mount(); !errors.Is(err, unix.ENOTSUP) {
			t.Errorf("got %v", err)
		}
		if len(rt.opened) > 0 || len(rt.mapped) != 1 || rt.mapped[0] != 1 {
			t.Errorf("asked to open %v, to map %v", rt.opened, rt.mapped)
		}
		if _, err := os.Lstat(dir + "/rootfs/b"); err == nil {
			t.Error("a mountpoint was made for what could not be mapped")
		}
	})
}

func TestCompileIDMap(t *testing.T) {
	ids := []specs.LinuxIDMapping{{HostID: 1000, Size: 1}}
	for _, tt := range []struct {
		name    string
		options []string
		given   bool
		env     Env
		want    *IDMap // nil: the defect
		defect  string
	}{
		{"given", opts("bind"), true, Env{}, &IDMap{UIDs: ids, GIDs: ids}, ""},
		{"given, idmap", opts("bind", "idmap"), true, Env{}, &IDMap{UIDs: ids, GIDs: ids}, ""},
		{"given, ridmap", opts("rbind", "ridmap"), true, Env{NewUserNS: true}, &IDMap{UIDs: ids, GIDs: ids, Recursive: true}, ""},
		{"both options", opts("rbind", "ridmap", "idmap"), true, Env{}, &IDMap{UIDs: ids, GIDs: ids, Recursive: true}, ""},
		{"the container's", opts("bind", "idmap"), false, Env{NewUserNS: true}, &IDMap{}, ""},
		{"nobody's", opts("bind", "idmap"), false, Env{}, nil, "mounts[0].options[1]: idmap: there are neither"},
		{"an ordinary user's", opts("bind", "idmap"), true, Env{NewUserNS: true, Unprivileged: true}, nil, "mounts[0].options[1]: mapping the ids"},
		{"without the option", opts("bind"), true, Env{NewUserNS: true, Unprivileged: true}, nil, "mounts[0].uidMappings: mapping the ids"},
	} {
		m := specs.Mount{Source: "/", Destination: "/m", Options: tt.options}
		if tt.given {
			m.UIDMappings, m.GIDMappings = ids, ids
		}
		var d defect.List
		tt.env.Bundle, tt.env.HostUserNS = "/b", true
		p := Compile(example(m), tt.env, &d)
		switch {
		case tt.want == nil:
			if len(d) != 1 || !strings.HasPrefix(d[0].String(), tt.defect) {
				t.Errorf("%s: defects %v, want %s", tt.name, d, tt.defect)
			}
		case len(d) > 0:
			t.Errorf("%s: defects %v", tt.name, d)
		default:
			got := p.Mounts[len(p.Mounts)-1].IDMap
			if got == nil || len(got.UIDs) != len(tt.want.UIDs) || len(got.GIDs) != len(tt.want.GIDs) || got.Recursive != tt.want.Recursive {
				t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
			}
		}
	}
}
