// gourd does not ask every second how many processors its cgroup allows.

//go:debug updatemaxprocs=0

// Command gourd is an OCI container runtime: it creates, starts, queries,
// signals and deletes containers from bundles, as the runtime-spec defines.
package main

import (
	"os"

	"github.com/gourd-oci/gourd/cli"
	"github.com/gourd-oci/gourd/libcontainer/initproc"
)

func main() {
	// First of all, before anything is set up: this may be a container's first
	// process, started by create, which has no use for a command line.
	if len(os.Args) > 1 && os.Args[1] == "init" {
		initproc.Main(os.Args[2:]) // does not return
	}
	os.Exit(cli.Main(os.Args))
}
