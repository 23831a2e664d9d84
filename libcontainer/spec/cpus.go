package spec

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := cpu(from)
		if err != nil {
			return nil, fmt.Errorf("%q is not a list of CPUs like 0-3,7: %w", list, err)
		}
		last := first
		if isRange {
			if last, err = cpu(to); err != nil {
				return nil, fmt.Errorf("%q is not a list of CPUs like 0-3,7: %w", list, err)
			}
		}
		if last < first {
			return nil, fmt.Errorf("%q is not a list of CPUs: the range %s ends before it begins", list, part)
		}
		for n := first; n <= last; n++ {
			set.Set(n)
		}
	}
	return set, nil
}

func cpu(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a number", text)
	case n >= maxCPUs:
		return 0, fmt.Errorf("CPU %d is beyond the %d that gourd can name", n, maxCPUs)
	}
	return int(n), nil
}
