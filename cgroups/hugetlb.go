package cgroups

import (
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
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
