package host

import (
	"slices"
	"testing"
)

func TestParseSubIDs(t *testing.T) {
	const data = "alice:100000:65536\n1000:1:2\nbob:5:6\nalice:x:1\nalice:7\nalice:300000:10\n"
	if got, want := parseSubIDs(data, "alice", "1000"), []IDRange{{100000, 65536}, {1, 2}, {300000, 10}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHolds(t *testing.T) {
	have := []IDRange{{100, 10}, {110, 5}, {200, 1}}
	for _, tt := range []struct {
		r    IDRange
		want bool
	}{
		{IDRange{100, 10}, true}, {IDRange{105, 10}, true}, {IDRange{105, 11}, false},
		{IDRange{99, 1}, false}, {IDRange{200, 1}, true}, {IDRange{200, 2}, false}, {IDRange{0, 0}, true},
	} {
		if got := Holds(have, tt.r); got != tt.want {
			t.Errorf("%v: got %v", tt.r, got)
		}
	}
}
