package linux

import (
	"slices"
	"testing"
)

func TestEachInList(t *testing.T) {
	for list, want := range map[string][]int{
		"0": {0}, "0-3,7": {0, 1, 2, 3, 7}, "7,0-1": {7, 0, 1}, "3-3": {3}, "1, 2": {1, 2}, "9": {9},
		"10": nil, "0-10": nil, "3-1": nil, "-1": nil, "1-": nil, "+1": nil, "a": nil, "1,": nil, "": nil, "0x1": nil,
		"99999999999999999999": nil,
	} {
		var got []int
		err := EachInList(list, 10, func(n int) { got = append(got, n) })
		if (err != nil) != (want == nil) || err == nil && !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
}
