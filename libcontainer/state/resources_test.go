package state

import (
	"errors"
	"testing"
)

func TestResources(t *testing.T) {
	d := reserve(t, t.TempDir(), "web")
	if data, err := d.LoadResources(); err != nil || len(data) != 0 {
		t.Errorf("before any: %q, %v", data, err)
	}
	for _, want := range []string{`{"a":1}`, `{}`} {
		if err := d.SaveResources([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if data, err := d.LoadResources(); err != nil || string(data) != want {
			t.Errorf("%q, %v; want %q", data, err, want)
		}
	}
	if err := d.SaveProcess([]byte("x")); err != nil {
		t.Fatal(err)
	}
	lock, err := d.LockUpdate()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		l, err := d.LockUpdate()
		if err == nil {
			err = l.Close()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Errorf("two updates at once: %v", err)
	default:
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveResources([]byte("{}")); !errors.Is(err, ErrNotExist) {
		t.Errorf("saved for a container that is deleted: %v", err)
	}
}
