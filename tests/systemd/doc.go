// Package systemd holds the tests of the systemd manager against a real systemd,
// as pid 1 and as a user's own: containers in scopes, driven through the built
// binary. They run in the virtual machine (make test-vm), and nowhere else: they
// make units of the machine's own systemd.
package systemd
