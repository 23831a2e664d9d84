package linux

import (
	"fmt"
	"strconv"
	"strings"
)

// EachInList calls f with each number of a list like "0-3,7" (cpuset(7), "List
// format"), in which blanks around the parts do no harm. Numbers from limit on
// are an error.
func EachInList(list string, limit int, f func(n int)) error {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := inList(from, limit)
		if err != nil {
			return err
		}
		last := first
		if isRange {
			if last, err = inList(to, limit); err != nil {
				return err
			}
		}
		if last < first {
			return fmt.Errorf("the range %s ends before it begins", part)
		}
		for n := first; n <= last; n++ {
			f(n)
		}
	}
	return nil
}

func inList(text string, limit int) (int, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err != nil && strings.Trim(text, "0123456789") != "" || text == "":
		return 0, fmt.Errorf("%q is not a number", text)
	case err != nil || n >= uint64(limit):
		return 0, fmt.Errorf("%s is beyond the %d that gourd can name", text, limit)
	}
	return int(n), nil
}
