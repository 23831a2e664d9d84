// Package prepare tests gourd-prepare: images that other tools have made on the
// spot, in worlds of their own, as scripts (testdata/*.txtar). What it mounts is
// compared with what umoci and podman make of the same image, file by file.
//
// It needs root and Debian's umoci, buildah, skopeo and podman.
package prepare
