package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func never(string) bool { return false }

func TestUsable(t *testing.T) {
	for _, tt := range []struct{ subnet, first, last, err string }{
		{"172.30.0.0/16", "172.30.0.2", "172.30.254.255", ""},
		{"172.30.5.7/16", "172.30.0.2", "172.30.254.255", ""},
		{"10.0.0.0/24", "10.0.0.2", "10.0.0.254", ""},
		{"10.0.0.0/29", "10.0.0.2", "10.0.0.6", ""},
		{"10.0.0.0/23", "10.0.0.2", "10.0.0.255", ""},
		{"10.0.0.0/30", "", "", "too small"},
		{"fd00::/64", "", "", "IPv4"},
		{"0.0.0.0/4", "", "", "too large"},
	} {
		first, last, err := Usable(netip.MustParsePrefix(tt.subnet))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", tt.subnet, err, tt.err)
			}
			continue
		}
		if err != nil || first.String() != tt.first || last.String() != tt.last {
			t.Errorf("%s: %s to %s, %v, want %s to %s", tt.subnet, first, last, err, tt.first, tt.last)
		}
	}
}

func TestTakeFirstFree(t *testing.T) {
	f := File{t.TempDir() + "/leases"}
	subnet := netip.MustParsePrefix("10.9.0.0/29")
	take := func(id, want string) {
		t.Helper()
		a, err := f.Take(subnet, "name-"+id, id, never)
		if err != nil || a.String() != want {
			t.Errorf("take %s: %s, %v, want %s", id, a, err, want)
		}
	}
	for i := range 5 {
		take(fmt.Sprint(i), fmt.Sprintf("10.9.0.%d", i+2))
	}
	take("2", "10.9.0.4") // again: it has one
	if a, err := f.Take(subnet, "n", "more", never); !errors.Is(err, ErrExhausted) || a.IsValid() {
		t.Errorf("an exhausted subnet gives %v, %v", a, err)
	}
	if err := f.Release(func(id string) bool { return id == "1" }); err != nil {
		t.Fatal(err)
	}
	take("new", "10.9.0.3")
	// A container that is gone has lost its lease.
	a, err := f.Take(subnet, "n", "other", func(id string) bool { return id == "0" })
	if err != nil || a.String() != "10.9.0.2" {
		t.Errorf("the lease of a container that is gone: %s, %v", a, err)
	}
	data, err := os.ReadFile(f.Path)
	if err != nil || !strings.Contains(string(data), "10.9.0.3\tname-new\t# new\n") {
		t.Errorf("the file is %q, %v", data, err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	f := File{t.TempDir() + "/leases"}
	subnet := netip.MustParsePrefix("10.9.0.0/24")
	var mu sync.Mutex
	got := map[netip.Addr]string{}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			a, err := f.Take(subnet, "n"+id, id, never)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || got[a] != "" {
				t.Errorf("%s and %q have %s, %v", id, got[a], a, err)
			}
			got[a] = id
		})
	}
	wg.Wait()
}

func TestFileThatIsNoLeases(t *testing.T) {
	f := File{t.TempDir() + "/leases"}
	if err := os.WriteFile(f.Path, []byte("10.0.0.1 precious\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Take(netip.MustParsePrefix("10.9.0.0/24"), "n", "id", never); err == nil {
		t.Error("a file with a line that is no lease is rewritten")
	}
	if data, _ := os.ReadFile(f.Path); string(data) != "10.0.0.1 precious\n" {
		t.Errorf("the file has become %q", data)
	}
}

func TestClaim(t *testing.T) {
	f := File{filepath.Join(t.TempDir(), "leases")}
	subnet := netip.MustParsePrefix("10.0.0.0/24")
	a, err := f.Take(subnet, "a", "1", never)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Claim(a, "a", "1", never); err != nil {
		t.Errorf("one's own: %v", err)
	}
	if err := f.Claim(a, "b", "2", never); err == nil {
		t.Error("another container's address was leased")
	}
	if err := f.Claim(a, "b", "2", func(id string) bool { return id == "1" }); err != nil {
		t.Errorf("of a container that is gone: %v", err)
	}
	if err := f.Claim(a.Next(), "c", "3", never); err != nil {
		t.Errorf("a free one: %v", err)
	}
	all, err := f.All()
	if want := []Lease{{a, "b", "2"}, {a.Next(), "c", "3"}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("the leases are %v, %v; want %v", all, err, want)
	}
}
