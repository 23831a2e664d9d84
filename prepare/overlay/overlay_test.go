package overlay

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// stack makes n layers, each with a file of its own and one of its number that
// all have, and a writable layer.
func stack(t *testing.T, n int) (*Stack, *os.File) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	open := func(name string) *os.File {
		t.Helper()
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	s := &Stack{}
	for i := range n {
		// What separates layers in an option is part of their names.
		name := fmt.Sprintf("%s/layer:%d,\\ x", dir, i)
		s.Lowers = append(s.Lowers, open(name))
		for _, f := range []string{"all", fmt.Sprint("only-", i)} {
			if err := os.WriteFile(name+"/"+f, fmt.Append(nil, i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Upper, s.Work = open(dir+"/up,per:"), open(dir+"/work")
	target := open(dir + "/target")
	t.Cleanup(func() { unix.Unmount(dir+"/target", unix.MNT_DETACH) })
	return s, target
}

func TestEveryWay(t *testing.T) {
	for _, tt := range []struct {
		way    Way
		layers int
		err    error
	}{
		{ByFD, 2, nil}, {ByPath, 2, nil}, {ByOption, 2, nil},
		{ByFD, 300, nil}, {ByPath, 300, nil},
		{ByOption, 100, nil}, // more than fit as paths of a usual store
		{ByOption, 300, ErrTooMany},
		{ByFD, 501, ErrTooMany},
	} {
		t.Run(fmt.Sprint(tt.way, tt.layers), func(t *testing.T) {
			s, target := stack(t, tt.layers)
			s.Ways = []Way{tt.way}
			err := s.Mount(target)
			if errors.Is(err, errWay) {
				t.Skip(err)
			}
			if tt.err != nil {
				if !errors.Is(err, tt.err) {
					t.Errorf("the error is %v, want %v", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			// The first is the topmost, and the last is there, too.
			if b, err := os.ReadFile(target.Name() + "/all"); err != nil || string(b) != "0" {
				t.Errorf("the topmost layer is %q, %v", b, err)
			}
			if _, err := os.Stat(fmt.Sprintf("%s/only-%d", target.Name(), tt.layers-1)); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(target.Name()+"/new", nil, 0o600); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(s.Upper.Name() + "/new"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFallback: a way that the kernel does not know is followed by the next.
func TestFallback(t *testing.T) {
	s, target := stack(t, 3)
	s.Ways = []Way{"none", ByOption}
	if err := s.Mount(target); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(target.Name() + "/only-2"); err != nil {
		t.Error(err)
	}
}

func TestOneLayerIsNoStack(t *testing.T) {
	s, target := stack(t, 1)
	s.Upper, s.Work = nil, nil
	if err := s.Mount(target); err == nil {
		t.Error("one layer is mounted as an overlay")
	}
	if err := Bind(s.Lowers[0], target, false, unix.MOUNT_ATTR_RDONLY); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target.Name()+"/new", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to a read-only bind gives %v", err)
	}
}

// TestContext: a label is an option of its own, however many commas it has.
func TestContext(t *testing.T) {
	s := Stack{Context: "system_u:object_r:container_file_t:s0:c1,c2"}
	for _, p := range s.params() {
		if p.Key == "context" && p.Value == s.Context {
			return
		}
	}
	t.Errorf("the label is not among %v", s.params())
}
