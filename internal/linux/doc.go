// Package linux holds the system calls that golang.org/x/sys lacks, or has
// without the semantics that gourd counts on: repeated after a signal, with
// paths resolved beneath a directory, on the calling thread alone, or with an
// error that says which kernel a call needs. It decides nothing.
package linux
