package spec

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestCPUs(t *testing.T) {
	for _, tt := range []struct {
		list string
		want []int // nil: an error
	}{
		{"0", []int{0}},
		{"0-3,7", []int{0, 1, 2, 3, 7}},
		{"7,0-1", []int{0, 1, 7}},
		{"3-3", []int{3}},
		{"1, 2", []int{1, 2}},
		{"1023", []int{1023}},
		{"1024", nil},
		{"3-1", nil},
		{"-1", nil},
		{"1-", nil},
		{"+1", nil},
		{"a", nil},
		{"1,", nil},
		{"0x1", nil},
	} {
		got, err := CPUs(tt.list)
		if tt.want == nil {
			if err == nil {
				t.Errorf("%q was accepted", tt.list)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.list, err)
			continue
		}
		var want unix.CPUSet
		for _, n := range tt.want {
			want.Set(n)
		}
		if *got != want {
			t.Errorf("%q: got %v", tt.list, *got)
		}
	}
	if got, err := CPUs(""); got != nil || err != nil {
		t.Errorf("the empty list: %v, %v", got, err)
	}
}
