// Package seccomp compiles the linux.seccomp section of a config.json to a
// classic BPF program, and makes what the agent of SCMP_ACT_NOTIFY gets.
//
// Compile is pure: no system call, no state, nothing initialised at start. The
// Program that it returns is plain data, which the runtime sends to the
// container's init. Loading it, and sending its listener, is not done here but
// in package notify, right before the container's execve.
//
// # What a profile means
//
// For a system call made on architecture A with number N:
//
//  1. An architecture that is neither the machine's own nor in the list is
//     killed (the thread). So is an x32 call when x86-64 is in the list and x32
//     is not.
//  2. A rule whose action is the default action says nothing.
//  3. A rule without arguments beats the rules with arguments, wherever it
//     stands; of several the first wins.
//  4. The conditions of one rule must all hold. But when a rule names one
//     argument twice, each of its conditions is a rule of its own, as in runc
//     and crun.
//  5. Rules with conditions are tried in an order that does not depend on the
//     profile's, libseccomp's: by their first condition (the one with the
//     lowest argument), where higher arguments come first, then EQ, NE and
//     MASKED_EQ before LT and LE before GT and GE, then the larger value (for
//     LT and LE the smaller); then by the second condition, and so on; then the
//     rule with fewer; else as in the profile. The first that holds decides.
//  6. The same conditions with two actions are an error. So is a rule whose
//     conditions are the first ones of an earlier rule with another action. In
//     the other order the later rule can never decide, and a warning says so.
//  7. Else, a number above all that the profile names on A gets ENOSYS, unless
//     the default action lets calls through or asks a tracer: nothing in the
//     profile can have meant it, and C libraries fall back on ENOSYS but not on
//     EPERM. So does number 0 on s390x, as which its kernel passes what it does
//     not know.
//  8. Else the default action.
//
// 32-bit architectures, x32 too, compare only the low 32 bits of arguments and
// values. On architectures that multiplex socket and IPC calls (socketcall,
// ipc), a rule for such a call also holds for the multiplexed form, where its
// condition on argument 0 is replaced by the number of the sub-call: a filter
// cannot see what that call's pointer points to.
//
// # The program
//
// It looks at the architecture, then searches the number among runs of numbers
// with one verdict, and only then at arguments (spans.go, tree.go, decide.go,
// values.go). Up to there it keeps to what the kernel can work out beforehand
// for its cache of allowed calls.
//
// # libseccomp
//
// A build with the tag libseccomp (and cgo) lets libseccomp compile. It is the
// oracle of the differential test. Where gourd's programs differ from
// libseccomp's, and why, is in the table of differences_test.go, of which each
// entry is a test.
package seccomp

//go:generate go run ./internal/gen zsyscalls.go
