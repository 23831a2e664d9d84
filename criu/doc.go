// Package criu has CRIU save the processes of a container and bring them back:
// it compiles what the command line and the container say into CRIU's options,
// starts `criu swrk`, and converses with it.
//
// It knows no container: what is on which path, which pid and which cgroup it
// is told.
//
// The messages are those of github.com/checkpoint-restore/go-criu, package rpc,
// which since v8.3 is made by protobuf-go-lite. It costs the start of every
// verb some ten microseconds (12 allocations, for the names of enumerations),
// a hundredth of it, and the binary a quarter of a megabyte with all of this
// package: too little for a second binary, or an encoder of gourd's own, to be
// worth it. The conversation is not go-criu's, which passes on no
// files (the master of a terminal) and starts CRIU in no cgroup.
package criu
