// Package seccomp compiles the linux.seccomp section of a config.json to a
// classic BPF program, and hands the listener of SCMP_ACT_NOTIFY to its agent.
//
// Compile is pure: no system call, no state, nothing initialised at start. The
// Program that it returns is plain data, which the runtime sends to the
// container's init. Loading it is not done here but in package notify, right
// before the container's execve.
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
//     lowest argument); higher arguments first, then EQ, NE and MASKED_EQ
//     before LT and LE before GT and GE, then the larger value first (for LT and
//     LE the smaller); then by the second condition, and so on; else as in the
//     profile. The first that holds decides.
//  6. The same conditions with two actions are an error, and so are conditions
//     that begin with those of an earlier rule of another action... in the other
//     order the later, more special, rule is dropped, with a warning.
//  7. Else, a number above all that the profile names on A gets ENOSYS (nothing
//     in the profile can have meant it, and C libraries fall back on ENOSYS but
//     not on EPERM), unless the default action lets calls through.
//  8. Else the default action.
//
// 32-bit architectures, x32 too, compare only the low 32 bits of arguments and
// values. On architectures that multiplex socket and IPC calls (socketcall,
// ipc), a rule for such a call also holds for the multiplexed form, where its
// condition on argument 0 is replaced by the number of the sub-call: a filter
// cannot see what that call's pointer points to.
//
// # Where gourd differs from libseccomp, and why
//
// See the table differences in the tests, which the differential test reads.
package seccomp

//go:generate go run ./internal/gen zsyscalls.go
