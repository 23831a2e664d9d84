package state

import (
	"errors"
	"testing"
)

func TestOOMIsToldToThoseWhoWatch(t *testing.T) {
	d := reserve(t, t.TempDir(), "web")
	asked := 0
	count := func() (uint64, error) { asked++; return 12, nil }
	if err := d.TellOOM(count); err != nil || asked > 0 {
		t.Errorf("with nobody who watches: %v, counted %d times", err, asked)
	}
	one, err := d.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := d.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if n, err := ToldOOM(one); n != 0 || err != nil {
		t.Errorf("before the end: %d, %v", n, err)
	}
	if err := d.TellOOM(count); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := ToldOOM(one); n != 12 || err != nil {
			t.Errorf("told %d, %v", n, err)
		}
	}
	if n, err := ToldOOM(two); n != 12 || err != nil {
		t.Errorf("told %d, %v", n, err)
	}
	if _, err := d.WatchOOM(); !errors.Is(err, ErrNotExist) {
		t.Errorf("watch a container that is deleted: %v", err)
	}
}
