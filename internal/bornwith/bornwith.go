// Package bornwith remembers what the kernel gave this process before Go
// changed it: the limit on open files, which package syscall raises when it
// is initialised. It restores nothing; whoever starts a program that is not
// Go's does.
//
// # Why this works
//
// The linker orders the initialisation of packages: of those whose imports
// are all initialised, the one whose import path sorts first goes next. This
// package imports nothing and its path sorts before "syscall" and before
// everything that syscall imports and could wait for, so it always comes
// first. Hence two rules that its test keeps: it imports nothing (the system
// call is made in assembly), and its path stays before "internal/" in the
// alphabet.
package bornwith

// nofile holds the soft and the hard limit, as prlimit64 writes them. It is
// set before main and never again.
var nofile [2]uint64

var known = readNofile(&nofile) == 0

// Nofile returns RLIMIT_NOFILE, the soft and the hard limit, as they were
// when the process was executed. ok is false where they could not be read:
// on an architecture without the assembly, or where prlimit64 is refused.
func Nofile() (soft, hard uint64, ok bool) { return nofile[0], nofile[1], known }
