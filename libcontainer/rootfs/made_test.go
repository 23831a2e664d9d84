package rootfs

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestMadeIsRemoved makes mountpoints, a volume with one inside it, devices
// and links, and removes what is on the host then.
func TestMadeIsRemoved(t *testing.T) {
	isolated(t, func(dir string) {
		mkdir(t, dir+"/vol")
		before := tree(t, dir+"/rootfs")
		s := example(
			specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/a/b/c"},
			specs.Mount{Source: "vol", Destination: "/vol", Options: opts("bind")},
			specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/vol/inside"},
			specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/vol/inside/gone/with/it"},
			specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/vol/deep/er"},
		)
		r := mounted(t, dir, s)
		made := r.Made()
		for _, want := range []string{"/a", "/a/b", "/a/b/c", "/vol", "/dev", "/dev/null", "/dev/fd", "/dev/ptmx"} {
			if !slices.Contains(made, Made{Path: want}) {
				t.Errorf("%s is not among %v", want, made)
			}
		}
		for _, want := range []string{"/inside", "/deep", "/deep/er"} {
			if !slices.Contains(made, Made{dir + "/vol", want}) {
				t.Errorf("%s of the volume is not among %v", want, made)
			}
		}
		must(t, "umount", unix.Unmount(dir+"/rootfs", unix.MNT_DETACH))
		must(t, "write", os.WriteFile(dir+"/rootfs/a/b/kept", []byte("by a hook"), 0o600))
		must(t, "remove", RemoveMade(dir+"/rootfs", append(made, Made{Path: "/never"}, Made{Path: "/was/there"}, Made{dir + "/vol", "/nor/this"})))
		if left := tree(t, dir+"/vol"); len(left) > 0 {
			t.Errorf("left on the volume are %v", left)
		}
		after := tree(t, dir+"/rootfs")
		if want := append(slices.Clone(before), "a", "a/b", "a/b/kept"); !slices.Equal(after, slices.Compact(slices.Sorted(slices.Values(want)))) {
			t.Errorf("left are %v, before were %v", after, before)
		}
	})
}

// tree lists all files below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	var list func(string)
	list = func(sub string) {
		entries, err := os.ReadDir(dir + "/" + sub)
		must(t, "list", err)
		for _, e := range entries {
			name := e.Name()
			if sub != "" {
				name = sub + "/" + name
			}
			names = append(names, name)
			if e.IsDir() {
				list(name)
			}
		}
	}
	list("")
	slices.Sort(names)
	return names
}

// TestMadeAt is where what is made would be, by the mounts that are there.
func TestMadeAt(t *testing.T) {
	p := &Plan{Mounts: []Mount{
		{Kind: Bind, Source: "/s", Destination: "/v"},
		{Kind: Remount, Destination: "/v/r"},
		{Type: "tmpfs", Destination: "/t"},
		{Kind: Bind, Source: "/s2", Destination: "/t/v"},
	}}
	for _, tt := range []struct {
		file string
		n    int
		want Made
		ok   bool
	}{
		{"/v", 4, Made{Path: "/v"}, true},
		{"/v/a", 4, Made{On: "/s", Path: "/a"}, true},
		{"/v/a", 0, Made{Path: "/v/a"}, true}, // not yet mounted
		{"/v/r/a", 4, Made{On: "/s", Path: "/r/a"}, true},
		{"/vv/a", 4, Made{Path: "/vv/a"}, true},
		{"/t/a", 4, Made{}, false},
		{"/t/a", 2, Made{Path: "/t/a"}, true},
		{"/t/v/a", 4, Made{On: "/s2", Path: "/a"}, true},
		{"/t/v", 4, Made{}, false},
	} {
		if got, ok := p.MadeAt(tt.file, tt.n); got != tt.want || ok != tt.ok {
			t.Errorf("%s after %d mounts: %v, %v; want %v, %v", tt.file, tt.n, got, ok, tt.want, tt.ok)
		}
	}
}
