package rootfs

import (
	"reflect"
	"testing"
)

func TestExternal(t *testing.T) {
	p := Plan{
		Mounts: []Mount{
			{Kind: Filesystem, Type: "proc", Destination: "/proc"},
			{Kind: Bind, Source: "/srv", Destination: "/data"},
			{Kind: Remount, Destination: "/data"},
		},
		MaskedPaths: []string{"/proc/kcore"},
		SetupDev:    true,
		Devices:     []Device{{Path: "/dev/fuse"}},
	}
	if got, want := p.External(), (External{Binds: []string{"/data"}, Masked: []string{"/proc/kcore"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	p.BindDevices = true
	if got := p.External().Devices; !reflect.DeepEqual(got, []string{"/dev/fuse"}) {
		t.Errorf("bound devices: %q", got)
	}
}

func TestInFilesystem(t *testing.T) {
	p := Plan{Mounts: []Mount{
		{Kind: Bind, Destination: "/dev-not"},
		{Kind: Filesystem, Destination: "/dev"},
		{Kind: Filesystem, Destination: "/dev/shm"},
		{Kind: Bind, Destination: "/dev/vol"},
		{Kind: Bind, Destination: "/dev/vol/sub"},
		{Kind: Bind, Destination: "/device"},
	}}
	for i, want := range []bool{false, false, true, true, false, false} {
		if got := p.inFilesystem(i); got != want {
			t.Errorf("%s: %v", p.Mounts[i].Destination, got)
		}
	}
}
