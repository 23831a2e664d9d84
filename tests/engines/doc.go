// Package engines holds the tests in which a real engine drives the runtime:
// dockerd, containerd, Podman and Buildah from Debian's packages. Each script of testdata
// runs in a world of its own (package world), where the engine that its name
// begins with has been started. It tests the runtime as the engine sees it, not
// the engine.
//
// In the virtual machine (tests/vm) the same scripts, and those of
// testdata/machine, run with the engines as services of systemd, with both cgroup
// drivers, networks and all controllers, and with Podman as an ordinary user's.
// There make test-kubernetes adds a kubelet, for the scripts kube-*.
//
// The runtime under test is $GOURD_RUNTIME, bin/gourd by default.
package engines
