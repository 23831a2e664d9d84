// Package engines holds the tests in which a real engine drives the runtime:
// dockerd and containerd from Debian's packages. Each script of testdata runs
// in a world of its own (package world), where the engine that its name begins
// with has been started. It tests the runtime as the engine sees it, not the
// engine.
//
// The runtime under test is $GOURD_RUNTIME, bin/gourd by default.
package engines
