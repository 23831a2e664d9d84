package cgroups

import (
	"reflect"
	"testing"
)

func TestSuperOptions(t *testing.T) {
	const table = "20 1 0:5 / / rw - ext4 /dev/vda rw\n" +
		"25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,seclabel,nsdelegate,memory_recursiveprot\n" +
		"26 20 0:22 / /else\\040where rw - cgroup2 none ro\n"
	for root, want := range map[string][]string{
		"/sys/fs/cgroup": {"nsdelegate", "memory_recursiveprot"},
		"/else where":    nil,
		"/nowhere":       nil,
	} {
		if got := superOptions([]byte(table), root); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", root, got, want)
		}
	}
}
