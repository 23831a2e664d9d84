package host

import (
	"os"
	"os/user"
	"strconv"
	"strings"
)

// IDRange is a range of ids on the host.
type IDRange struct{ First, Count uint64 }

// SubIDs returns the ranges that a file of subuid(5) or subgid(5) gives to a
// user, by name or number.
func SubIDs(file string, uid int) ([]IDRange, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	number := strconv.Itoa(uid)
	name := number
	if u, err := user.LookupId(number); err == nil {
		name = u.Username
	}
	return parseSubIDs(string(data), name, number), nil
}

func parseSubIDs(data, name, number string) []IDRange {
	var list []IDRange
	for line := range strings.Lines(data) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || fields[0] != name && fields[0] != number {
			continue
		}
		first, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil {
			continue
		}
		count, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil || count == 0 {
			continue
		}
		list = append(list, IDRange{first, count})
	}
	return list
}

// Holds returns whether all ids of r are in the ranges.
func Holds(ranges []IDRange, r IDRange) bool {
	for r.Count > 0 {
		found := false
		for _, h := range ranges {
			if r.First >= h.First && r.First < h.First+h.Count {
				n := min(r.Count, h.First+h.Count-r.First)
				r.First, r.Count, found = r.First+n, r.Count-n, true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}
