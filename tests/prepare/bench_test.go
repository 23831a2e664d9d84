package prepare

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

// BenchmarkDebian measures how long it takes from an OCI layout that holds a
// Debian to a root filesystem: `umoci unpack`, `podman create`, which imports
// first, and `gourd prepare` with either form of layers. What was made is removed
// outside of the time; every run begins with a store that is empty.
//
//	go test ./tests/prepare -run '^$' -bench Debian -benchtime 5x
func BenchmarkDebian(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("root is needed")
	}
	dir, err := images()
	if err != nil {
		b.Fatal(err)
	}
	rt, err := world.FindRuntime()
	if err != nil {
		b.Fatal(err)
	}
	img := dir + "/debian:latest"
	prepare := filepath.Join(filepath.Dir(rt.Path), "gourd-prepare")
	for _, tool := range []struct {
		name string
		args func(store string) []string
	}{
		{"umoci", func(s string) []string { return []string{"umoci", "unpack", "--image", img, s + "/bundle"} }},
		{"podman", func(s string) []string {
			return []string{"podman", "--root", s + "/root", "--runroot", s + "/run", "--storage-driver", "overlay", "create", "oci:" + img, "true"}
		}},
		{"directory", func(s string) []string {
			return []string{prepare, "--quiet", "--store", s + "/store", "--run-dir", s + "/run", "--layer-format", "directory", "oci:" + img, "c"}
		}},
		{"erofs", func(s string) []string {
			return []string{prepare, "--quiet", "--store", s + "/store", "--run-dir", s + "/run", "--layer-format", "erofs", "oci:" + img, "c"}
		}},
	} {
		b.Run(tool.name, func(b *testing.B) {
			if _, err := exec.LookPath(tool.args("")[0]); err != nil {
				b.Skip(err)
			}
			for b.Loop() {
				b.StopTimer()
				store, err := os.MkdirTemp("", "gourd-bench-")
				if err != nil {
					b.Fatal(err)
				}
				args := tool.args(store)
				b.StartTimer()
				out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
				b.StopTimer()
				if err != nil {
					b.Fatalf("%v: %v\n%s", args, err, out)
				}
				mounts, _ := filepath.Glob(store + "/store/containers/*/bundle/rootfs")
				shm, _ := filepath.Glob(store + "/run/*/shm")
				for _, m := range append(mounts, shm...) {
					if err := exec.Command("umount", m).Run(); err != nil {
						b.Fatal(err)
					}
				}
				exec.Command("umount", store+"/root/overlay").Run() // podman's own, if it is there
				if err := os.RemoveAll(store); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
