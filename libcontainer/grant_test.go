package libcontainer

import (
	"testing"

	"github.com/gourd-oci/gourd/nsenter"
)

func TestSameMaps(t *testing.T) {
	const file = "         0     100000         10\n        10     300000          5\n"
	for _, tt := range []struct {
		name string
		want []nsenter.IDMap
		same bool
	}{
		{"the same", []nsenter.IDMap{{Inside: 0, Outside: 100000, Size: 10}, {Inside: 10, Outside: 300000, Size: 5}}, true},
		{"in another order", []nsenter.IDMap{{Inside: 10, Outside: 300000, Size: 5}, {Inside: 0, Outside: 100000, Size: 10}}, true},
		{"a part", []nsenter.IDMap{{Inside: 0, Outside: 100000, Size: 10}}, false},
		{"another size", []nsenter.IDMap{{Inside: 0, Outside: 100000, Size: 10}, {Inside: 10, Outside: 300000, Size: 6}}, false},
		{"others", []nsenter.IDMap{{Inside: 0, Outside: 0, Size: 10}, {Inside: 10, Outside: 10, Size: 5}}, false},
	} {
		if got := sameMaps([]byte(file), tt.want); got != tt.same {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}
