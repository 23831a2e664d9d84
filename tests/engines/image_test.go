package engines

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"github.com/rogpeppe/go-internal/testscript"
)

// An image is made on the spot: no registry is needed.
type image struct {
	name   string
	config map[string]any // Entrypoint, Cmd, Env, User …
}

// pause is what containerd runs in each pod, under the name that it is told to
// look for. Its process reaps what dies in the pod's pid namespace.
func pause(name string) image {
	return image{name, map[string]any{
		"Entrypoint": []string{"/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 2147483 & wait $!; done"},
		"Env":        []string{"PATH=/bin"},
	}}
}

// box is the image of the scripts.
var box = image{"localhost/box:latest", map[string]any{"Env": []string{"PATH=/bin"}}}

// cmdImage is image FILE: it writes that image, for an engine that cannot make one
// of a directory.
func cmdImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: image FILE")
	}
	ts.Check(archive(ts.MkAbs(args[0]), ts.MkAbs("rootfs"), box))
}

// archive writes the images to a file, in the form of docker save; what is in
// them is the directory rootfs.
func archive(file, rootfs string, images ...image) error {
	layer, err := exec.Command("tar", "-C", rootfs, "--owner=0", "--group=0", "-c", ".").Output()
	if err != nil {
		return fmt.Errorf("tar %s: %w", rootfs, err)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	out := tar.NewWriter(f)
	add := func(name string, data []byte) error {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err := io.Copy(out, bytes.NewReader(data))
		return err
	}
	if err := add("layer.tar", layer); err != nil {
		return err
	}
	var manifest []map[string]any
	for i, m := range images {
		config, err := json.Marshal(map[string]any{
			"architecture": runtime.GOARCH, "os": "linux", "config": m.config,
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
		})
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d.json", i)
		if err := add(name, config); err != nil {
			return err
		}
		manifest = append(manifest, map[string]any{"Config": name, "RepoTags": []string{m.name}, "Layers": []string{"layer.tar"}})
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	return errors.Join(add("manifest.json", data), out.Close())
}
