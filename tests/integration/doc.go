// Package integration holds the tests that drive a built container runtime
// through real containers. Each feature is a script in testdata (see
// testdata/README.md for how to read and write one); each script runs in a
// world of its own (package world) and must leave that world as it found it.
//
// The runtime under test is $GOURD_RUNTIME, bin/gourd by default. The same
// scripts run against runc, which shows a wrong test: what only one of them
// does is marked [gourd] or [runc].
package integration
