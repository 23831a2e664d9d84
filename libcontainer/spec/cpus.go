package spec

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// maxCPUs is how many CPUs a unix.CPUSet can hold.
const maxCPUs = 1024

// CPUs returns the set that a list like "0-3,7" names, nil for an empty list
// (config.md, execCPUAffinity).
func CPUs(list string) (*unix.CPUSet, error) {
	if list == "" {
		return nil, nil
	}
	set := new(unix.CPUSet)
	if err := linux.EachInList(list, maxCPUs, set.Set); err != nil {
		return nil, fmt.Errorf("%q is not a list of CPUs like 0-3,7: %w", list, err)
	}
	return set, nil
}
