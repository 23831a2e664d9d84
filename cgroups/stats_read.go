package cgroups

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// readUint returns the number in a file of one value (cgroup-v2.rst, "Format");
// "max" is the largest there is.
func readUint(dir int, name string) (uint64, error) {
	data, err := readAt(dir, name)
	if err != nil {
		return 0, err
	}
	s := strings.TrimSpace(string(data))
	if s == "max" {
		return math.MaxUint64, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}
