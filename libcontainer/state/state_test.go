package state

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/cleanup"
)

func TestMain(m *testing.M) {
	before := openFDs()
	code := m.Run()
	if after := openFDs(); code == 0 && after != before {
		fmt.Printf("file descriptors leaked: %d before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// openFDs counts the open fds, but not those of the Go poller, which it makes
// when it needs them first and keeps.
func openFDs() int {
	n := 0
	for fd := range 256 {
		// Not those of the Go runtime: the poller's, and cpu.max of our cgroup.
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil && !strings.Contains(link, "eventpoll") && !strings.Contains(link, "eventfd") && !strings.HasPrefix(link, "/sys/fs/cgroup/") {
			n++
		}
	}
	return n
}

func reserve(t *testing.T, root, id string) *Dir {
	t.Helper()
	var undo cleanup.Stack
	d, err := Reserve(root, id, &undo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestValidID(t *testing.T) {
	for _, id := range []string{"a", "A_0+-.", "...", "-", ".a", strings.Repeat("x", 255)} {
		if err := ValidID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "/", "a b", "a\x00", "é", "a\n", strings.Repeat("x", 256)} {
		if err := ValidID(id); !errors.Is(err, ErrInvalidID) {
			t.Errorf("%q: %v, want ErrInvalidID", id, err)
		}
		if _, err := Open(t.TempDir(), id); !errors.Is(err, ErrInvalidID) {
			t.Errorf("Open %q: %v, want ErrInvalidID", id, err)
		}
		if _, err := Reserve(t.TempDir(), id, &cleanup.Stack{}); !errors.Is(err, ErrInvalidID) {
			t.Errorf("Reserve %q: %v, want ErrInvalidID", id, err)
		}
	}
}

func TestReserve(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "root")
	d := reserve(t, root, "web")
	for path, want := range map[string]os.FileMode{root: 0o700 | os.ModeDir | os.ModeSticky, d.Path(): 0o700 | os.ModeDir} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, st.Mode(), want)
		}
	}
	_, err := Reserve(root, "web", &cleanup.Stack{})
	if !errors.Is(err, ErrExist) || !strings.HasPrefix(err.Error(), "container with given ID already exists") {
		t.Errorf("the second time: %v", err)
	}
	if d.ID() != "web" || d.Path() != filepath.Join(root, "web") {
		t.Errorf("id %q, path %q", d.ID(), d.Path())
	}
}

func TestReserveIsUndone(t *testing.T) {
	root := t.TempDir()
	var undo cleanup.Stack
	d, err := Reserve(root, "web", &undo)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.MakeGate(""); err != nil {
		t.Fatal(err)
	}
	if err := undo.Run(); err != nil {
		t.Error(err)
	}
	if ids, err := List(root); err != nil || len(ids) != 0 {
		t.Errorf("left: %v, %v", ids, err)
	}
}

func TestReserveInABadRoot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Reserve(file, "web", &cleanup.Stack{}); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("error %v, want ENOTDIR", err)
	}
	if _, err := List(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("error %v, want ENOTDIR", err)
	}
}

func TestOpenOfNothing(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, filepath.Join(root, "gone")} {
		for _, id := range []string{"web", "file"} {
			_, err := Open(dir, id)
			if !errors.Is(err, ErrNotExist) || err.Error() != fmt.Sprintf("container does not exist: %q", id) {
				t.Errorf("error %v", err)
			}
		}
	}
	if err := os.Symlink("/tmp", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(root, "link"); err == nil {
		d.Close()
		t.Error("a symlink is taken for a container")
	}
}

func record(id string) *Record {
	return &Record{
		ID: id, OCIVersion: "1.2.0", Bundle: "/b", Rootfs: "/b/rootfs", UID: 7,
		Created: "2026-01-02T03:04:05.000000006Z", BootID: "boot", InitPID: 42, InitStart: 1<<63 + 1, Ready: true,
		Annotations: map[string]string{"a": "b"}, Plan: []byte(`[1,2]`),
	}
}

func TestSaveAndLoad(t *testing.T) {
	root := t.TempDir()
	d := reserve(t, root, "web")
	if _, err := d.Load(); !errors.Is(err, ErrNoRecord) || errors.Is(err, ErrNotExist) {
		t.Errorf("before the first save: %v, want ErrNoRecord", err)
	}
	want := record("web")
	for range 2 {
		if err := d.Save(want); err != nil {
			t.Fatal(err)
		}
		want.Version = version
		reader, err := Open(root, "web")
		if err != nil {
			t.Fatal(err)
		}
		got, err := reader.Load()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if err := reader.Save(want); err == nil || !strings.Contains(err.Error(), "without holding the lock") {
			t.Errorf("save without the lock: %v", err)
		}
		if err := reader.Remove(); err == nil || !strings.Contains(err.Error(), "without holding the lock") {
			t.Errorf("remove without the lock: %v", err)
		}
		if err := reader.MarkReady(want); err == nil || !strings.Contains(err.Error(), "without holding the lock") {
			t.Errorf("mark ready without the lock: %v", err)
		}
		reader.Close()
		want.Ready = false // the next round
	}
	if err := d.MarkReady(want); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Load(); err != nil || !want.Ready || !reflect.DeepEqual(got, want) {
		t.Errorf("marked ready: got %+v, %v, want %+v", got, err, want)
	}
	if st, err := os.Stat(filepath.Join(d.Path(), recordName)); err != nil || st.Mode() != 0o600 {
		t.Errorf("the record has mode %v, %v", st.Mode(), err)
	}
	names, err := os.ReadDir(d.Path())
	if err != nil || len(names) != 1 {
		t.Errorf("in the directory: %v, %v", names, err)
	}
}

// Whether create has finished was a JSON boolean once.
func TestLoadOlder(t *testing.T) {
	for word, want := range map[string]bool{"true": true, "false": false, "1": true, "0": false} {
		d := reserve(t, t.TempDir(), "web")
		text := `{"version":1,"id":"web","ready":` + word + `}`
		if err := os.WriteFile(filepath.Join(d.Path(), recordName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := d.Load(); err != nil || r.Ready != want {
			t.Errorf("ready %s: %+v, %v", word, r, err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":         "",
		"half":          `{"version":1,"id":"web"`,
		"no object":     "[]",
		"no version":    `{"id":"web"}`,
		"of another id": `{"version":1,"id":"other"}`,
	} {
		d := reserve(t, t.TempDir(), "web")
		if err := os.WriteFile(filepath.Join(d.Path(), recordName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Load(); !errors.Is(err, ErrNoRecord) {
			t.Errorf("%s: %v, want ErrNoRecord", name, err)
		}
	}
}

// A container of a newer gourd's is no half-made one, which --force removes.
func TestLoadOfANewerRecord(t *testing.T) {
	d := reserve(t, t.TempDir(), "web")
	if err := os.WriteFile(filepath.Join(d.Path(), recordName), []byte(`{"version":2,"id":"web"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(); err == nil || errors.Is(err, ErrNoRecord) || errors.Is(err, ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestRemove(t *testing.T) {
	root := t.TempDir()
	d := reserve(t, root, "web")
	if err := d.Save(record("web")); err != nil {
		t.Fatal(err)
	}
	gate, err := d.MakeGate("")
	if err != nil {
		t.Fatal(err)
	}
	gate.Close()
	if err := os.MkdirAll(filepath.Join(d.Path(), "foreign", "thing"), 0o700); err != nil {
		t.Fatal(err)
	}
	reader, err := Open(root, "web")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Load(); !errors.Is(err, ErrNotExist) {
		t.Errorf("a reader that opened it before: %v, want ErrNotExist", err)
	}
	if _, err := Open(root, "web"); !errors.Is(err, ErrNotExist) {
		t.Errorf("a reader that comes now: %v, want ErrNotExist", err)
	}
	reserve(t, root, "web") // the id is free
}

// Whoever waited for the lock of a container that was deleted learns so, even
// if there is a new container of that id.
func TestLockOfADeletedContainer(t *testing.T) {
	for _, again := range []bool{false, true} {
		root := t.TempDir()
		owner := reserve(t, root, "web")
		waiter, err := Open(root, "web")
		if err != nil {
			t.Fatal(err)
		}
		defer waiter.Close()
		done := make(chan error)
		go func() { done <- waiter.Lock() }()
		if err := owner.Remove(); err != nil {
			t.Fatal(err)
		}
		if again {
			reserve(t, root, "web")
		}
		select {
		case err := <-done:
			t.Fatalf("the lock was given to two: %v", err)
		default:
		}
		owner.Close()
		if err := <-done; !errors.Is(err, ErrNotExist) {
			t.Errorf("the waiter: %v, want ErrNotExist", err)
		}
		if err := waiter.Save(record("web")); err == nil {
			t.Error("a deleted container's record was saved")
		}
	}
}

func TestUnlock(t *testing.T) {
	root := t.TempDir()
	owner := reserve(t, root, "web")
	waiter, err := Open(root, "web")
	if err != nil {
		t.Fatal(err)
	}
	defer waiter.Close()
	if err := owner.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := owner.Save(record("web")); err == nil {
		t.Error("a record was saved without the lock")
	}
	if err := waiter.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := waiter.Save(record("web")); err != nil {
		t.Error(err)
	}
}

// Many create, save and delete the same id at once: at no time have two of
// them the lock, and no reader ever finds a part of a record.
func TestContention(t *testing.T) {
	root := t.TempDir()
	var holders, made atomic.Int32
	var writers, readers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 50 {
				d, err := Reserve(root, "web", &cleanup.Stack{})
				if err == nil {
					made.Add(1)
				} else if errors.Is(err, ErrExist) {
					if d, err = Open(root, "web"); err == nil {
						err = d.Lock()
						if err != nil {
							d.Close()
						}
					}
				}
				if errors.Is(err, ErrNotExist) {
					continue
				}
				if err != nil {
					t.Error(err)
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders of the lock", n)
				}
				if err := d.Save(record("web")); err != nil {
					t.Error(err)
				}
				holders.Add(-1) // with Remove the id is free
				if err := d.Remove(); err != nil {
					t.Error(err)
				}
				d.Close()
			}
		})
	}
	stop := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			d, err := Open(root, "web")
			if errors.Is(err, ErrNotExist) {
				continue
			}
			if err != nil {
				t.Error(err)
				continue
			}
			switch r, err := d.Load(); {
			case errors.Is(err, ErrNotExist), errors.Is(err, ErrNoRecord) && strings.HasSuffix(err.Error(), ErrNoRecord.Error()):
			case err != nil:
				t.Error(err)
			case r.InitPID != 42:
				t.Errorf("read %+v", r)
			}
			d.Close()
		}
	})
	writers.Wait()
	close(stop)
	readers.Wait()
	if made.Load() == 0 {
		t.Error("nobody ever made the container")
	}
	if ids, err := List(root); err != nil || len(ids) != 0 {
		t.Errorf("left: %v, %v", ids, err)
	}
}

func TestList(t *testing.T) {
	root := t.TempDir()
	for _, id := range []string{"b", "a", "C", "10", "9"} {
		reserve(t, root, id).Close()
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "no id"), 0o700); err != nil {
		t.Fatal(err)
	}
	ids, err := List(root)
	if want := []string{"10", "9", "C", "a", "b"}; err != nil || !reflect.DeepEqual(ids, want) {
		t.Errorf("got %q, %v, want %q", ids, err, want)
	}
	if ids, err := List(filepath.Join(root, "gone")); err != nil || len(ids) != 0 {
		t.Errorf("a root that does not exist: %q, %v", ids, err)
	}
}

// process starts a process that ends with its stdin.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if len(args) == 0 {
		args = []string{"cat"}
	}
	cmd := exec.Command(args[0], args[1:]...)
	w, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		if cmd.ProcessState == nil {
			_ = cmd.Wait()
		}
	})
	return cmd
}
