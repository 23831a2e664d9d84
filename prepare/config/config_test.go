package config

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestArguments(t *testing.T) {
	img := ocispec.ImageConfig{Entrypoint: []string{"/e"}, Cmd: []string{"c"}}
	for _, tt := range []struct {
		name string
		img  ocispec.ImageConfig
		r    Request
		want []string
	}{
		{"as the image has it", img, Request{}, []string{"/e", "c"}},
		{"another command", img, Request{Command: []string{"x", "y"}}, []string{"/e", "x", "y"}},
		{"another entrypoint takes the command away", img, Request{Entrypoint: &[]string{"/f"}}, []string{"/f"}},
		{"both", img, Request{Entrypoint: &[]string{"/f"}, Command: []string{"x"}}, []string{"/f", "x"}},
		{"no entrypoint", img, Request{Entrypoint: &[]string{}, Command: []string{"x"}}, []string{"x"}},
		{"nothing", ocispec.ImageConfig{}, Request{}, nil},
	} {
		got, err := arguments(tt.img, tt.r)
		if !slices.Equal(got, tt.want) || (err != nil) != (tt.want == nil) {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got := environment(ocispec.ImageConfig{Env: []string{"A=1", "B=2", "A=3"}},
		Request{Env: []string{"B=4", "C="}, Unset: []string{"D", "TERM"}, Terminal: true, Hostname: "h"}, Identity{Home: "/root"})
	want := []string{"A=3", "B=4", "C=", defaultPath, "HOME=/root", "HOSTNAME=h"}
	if !slices.Equal(got, want) {
		t.Errorf("the environment is %q, want %q", got, want)
	}
	if got := environment(ocispec.ImageConfig{Env: []string{"PATH=/x", "HOME=/y"}}, Request{}, Identity{Home: "/root"}); !slices.Equal(got, []string{"PATH=/x", "HOME=/y"}) {
		t.Errorf("what the image says is replaced: %q", got)
	}
}

func TestAnnotations(t *testing.T) {
	img := &ocispec.Image{Author: "me", Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Config: ocispec.ImageConfig{
		StopSignal: "SIGQUIT", ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}},
		Labels: map[string]string{"org.opencontainers.image.author": "label", "l": "1", "over": "image"},
	}}
	got := annotations(img, Request{Annotations: map[string]string{"over": "request"}})
	want := map[string]string{
		annOS: "linux", annArchitecture: "amd64", annAuthor: "label", annStopSignal: "SIGQUIT", annExposedPorts: "53/udp,80/tcp", "l": "1", "over": "request",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the annotations are %v, want %v", got, want)
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		add, drop []string
		want      []string
		err       string
	}{
		{nil, []string{"ALL"}, []string{}, ""},
		{[]string{"chown", "CAP_KILL"}, []string{"all"}, []string{"CAP_CHOWN", "CAP_KILL"}, ""},
		{[]string{"chown,kill"}, []string{"all"}, []string{"CAP_CHOWN", "CAP_KILL"}, ""},
		{[]string{"nonsense"}, nil, nil, "nonsense"},
	} {
		got, err := capabilities(tt.add, tt.drop)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("add %q: error %v", tt.add, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("add %q, drop %q: %q, %v, want %q", tt.add, tt.drop, got, err, tt.want)
		}
	}
	all, err := capabilities([]string{"ALL"}, []string{"SYS_ADMIN"})
	if err != nil || len(all) != len(allCapabilities())-1 || slices.Contains(all, "CAP_SYS_ADMIN") {
		t.Errorf("all but one: %q, %v", all, err)
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1": 1, "64m": 64 << 20, "64M": 64 << 20, "1.5GiB": 3 << 29, "2kb": 2048, "1t": 1 << 40, "12b": 12} {
		if got, err := ParseSize(s); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "m", "-1", "1x", "9999999999t", "NaN", "1 m"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d", s, got)
		}
	}
}

func TestMountsReplaceAndAreInOrder(t *testing.T) {
	list, err := mounts(Request{Mounts: []specs.Mount{{Destination: "/dev/shm/", Type: "tmpfs"}, {Destination: "/a/b/c"}, {Destination: "/a"}}},
		Facts{Shm: "/host/shm", Volumes: map[string]string{"/a": "/vol", "/a/b": "/vol2"}})
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, m := range list {
		if _, twice := at[m.Destination]; twice {
			t.Errorf("%s is mounted twice", m.Destination)
		}
		at[m.Destination] = i
	}
	if list[at["/dev/shm"]].Type != "tmpfs" || list[at["/a"]].Source != "" {
		t.Errorf("what is asked for does not replace the rest: %+v", list)
	}
	if !(at["/a"] < at["/a/b"] && at["/a/b"] < at["/a/b/c"] && at["/dev"] < at["/dev/shm"]) {
		t.Errorf("the order is %v", at)
	}
	if _, err := mounts(Request{Mounts: []specs.Mount{{Destination: "a"}}}, Facts{}); err == nil {
		t.Error("a relative destination is taken")
	}
}

func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	root := dir + "/root"
	for _, err := range []error{
		os.MkdirAll(root+"/etc", 0o755),
		os.WriteFile(dir+"/passwd", []byte("evil:x:666:666::/evil:/bin/sh\n"), 0o600),
		os.WriteFile(root+"/real", []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"), 0o600),
		os.Symlink("../../../../../../real", root+"/etc/passwd"), // stays inside
		os.WriteFile(root+"/etc/group", []byte("root:x:0:\napp:x:1001:\nextra:x:5:app\nmore:x:7:app,root\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for spec, want := range map[string]Identity{
		"":         {Home: "/root", Groups: []uint32{7}},
		"app":      {UID: 1000, GID: 1001, Groups: []uint32{5, 7}, Home: "/home/app"},
		"1000":     {UID: 1000, GID: 1001, Groups: []uint32{5, 7}, Home: "/home/app"},
		"app:7":    {UID: 1000, GID: 7, Home: "/home/app"},
		"app:more": {UID: 1000, GID: 7, Home: "/home/app"},
		"4242":     {UID: 4242, Home: "/"},
		"4242:9":   {UID: 4242, GID: 9, Home: "/"},
	} {
		got, err := Identify(f, spec)
		if err != nil || got.UID != want.UID || got.GID != want.GID || !slices.Equal(got.Groups, want.Groups) || got.Home != want.Home {
			t.Errorf("%q is %+v, %v, want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{"evil", "app:nogroup", "-1"} {
		if got, err := Identify(f, spec); err == nil {
			t.Errorf("%q is %+v", spec, got)
		}
	}
	// A FIFO, a device or a directory is no file of accounts, and hangs nobody.
	if err := os.Remove(root + "/etc/passwd"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root+"/etc/passwd", 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Identify(f, "5"); err != nil || got.UID != 5 {
		t.Errorf("without a passwd file: %+v, %v", got, err)
	}
}
