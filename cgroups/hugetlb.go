package cgroups

import (
	"errors"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hugetlb.go: the hugetlb controller (cgroup-v2.rst, "HugeTLB").

// compileHugetlb turns linux.resources.hugepageLimits, in bytes, into the files
// to write: the limit on use, and the one on reservations, which makes mmap fail
// rather than a page fault kill. Kernels before 5.7 have no reservations.
func compileHugetlb(limits []specs.LinuxHugepageLimit, d *defect.List) []Write {
	var ws []Write
	for i, l := range limits {
		from := "linux.resources.hugepageLimits[" + strconv.Itoa(i) + "]"
		if !isPageSize(l.Pagesize) {
			d.Add(from+".pageSize", "%q is not a page size such as 64KB, 2MB or 1GB", l.Pagesize)
			continue
		}
		v := strconv.FormatUint(l.Limit, 10)
		ws = append(ws,
			Write{Controller: "hugetlb", File: "hugetlb." + l.Pagesize + ".max", Value: v, From: from + ".limit"},
			Write{Controller: "hugetlb", File: "hugetlb." + l.Pagesize + ".rsvd.max", Value: v, From: from + ".limit", Optional: true})
	}
	return ws
}

// isPageSize tells whether s has the form of a huge page size in a file's name.
func isPageSize(s string) bool {
	n, ok := strings.CutSuffix(s, "B")
	if !ok || len(n) < 2 || strings.IndexByte("KMGTPE", n[len(n)-1]) < 0 {
		return false
	}
	n = n[:len(n)-1]
	return n[0] != '0' && strings.Trim(n, "0123456789") == ""
}

// HugetlbStats is the use of huge pages of one size, in bytes: reserved, where
// the kernel counts that, else in use; and how often the limit was met.
type HugetlbStats struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

func statHugetlb(dir int, s *Stats) error {
	sizes, err := hugetlbSizes(dir)
	if err != nil {
		return err
	}
	for _, size := range sizes {
		var h HugetlbStats
		h.Usage, err = readUint(dir, "hugetlb."+size+".rsvd.current")
		if errors.Is(err, unix.ENOENT) {
			h.Usage, err = readUint(dir, "hugetlb."+size+".current")
		}
		if err != nil {
			return err
		}
		err = eachKey(dir, "hugetlb."+size+".events", func(key string, n uint64) {
			if key == "max" {
				h.Failcnt = n
			}
		})
		if err != nil {
			return err
		}
		s.Hugetlb[size] = h
	}
	return nil
}

// hugetlbSizes returns the page sizes that the cgroup has files for.
func hugetlbSizes(dir int) ([]string, error) {
	files, err := names(dir, false)
	if err != nil {
		return nil, err
	}
	var sizes []string
	for _, f := range files {
		if f, ok := strings.CutPrefix(f, "hugetlb."); ok {
			if size, ok := strings.CutSuffix(f, ".events"); ok && isPageSize(size) {
				sizes = append(sizes, size)
			}
		}
	}
	return sizes, nil
}
