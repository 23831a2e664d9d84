// Package conformance runs the validation programs of runtime-tools, by which
// the Open Container Initiative tests runtimes, with gourd and with Debian's
// runc, each program in a world of its own (package world). What comes out is
// held against docs/results/conformance.md, where each failure is explained by
// a sentence of the runtime-spec: the programs are older than it.
//
// In the virtual machine, too: make test-vm-full. There all controllers, AppArmor and
// CAP_SYS_RESOURCE are, and gourd's results are to be the same.
//
// They are a module of their own, which tools/go.mod names. Nothing of it is
// here: it is built into the cache of the tests.
package conformance
