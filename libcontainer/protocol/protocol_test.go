package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

type inner struct {
	Name string
	Data []byte
	Next *inner
}

type sample struct {
	B     bool
	I     int
	I64   int64
	U32   uint32
	U64   uint64
	S     string
	List  []inner
	Ptr   *int64
	Nil   []string
	Empty []string
	Arr   [3]int
}

func newSample() sample {
	i := int64(math.MinInt64)
	return sample{
		B: true, I: -1, I64: math.MaxInt64, U32: math.MaxUint32, U64: math.MaxUint64, S: "ä\x00b",
		List:  []inner{{Name: "one", Data: []byte{0, 1}}, {Next: &inner{Name: "deep"}}},
		Ptr:   &i,
		Empty: []string{},
		Arr:   [3]int{1, 2, 3},
	}
}

func TestCodecKeepsEveryValue(t *testing.T) {
	want := newSample()
	b, err := Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got sample
	if err := Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestCodecRefusesWhatIsCutOff(t *testing.T) {
	b, err := Marshal(newSample())
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		var got sample
		if err := Unmarshal(b[:n], &got); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(b))
		}
	}
	var got sample
	if err := Unmarshal(append(b, 0), &got); err == nil {
		t.Error("a byte too many was accepted")
	}
}

func TestCodecRefusesWhatIsNotPlainData(t *testing.T) {
	for _, v := range []any{
		map[string]int{}, struct{ F func() }{}, struct{ A any }{}, struct{ hidden int }{}, 1.5,
	} {
		if _, err := Marshal(v); err == nil {
			t.Errorf("%T was accepted", v)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	b, _ := Marshal(newSample())
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		if err := Unmarshal(data, &s); err != nil {
			return
		}
		again, err := Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var s2 sample
		if err := Unmarshal(again, &s2); err != nil || !reflect.DeepEqual(s, s2) {
			t.Errorf("decoding is not stable: %v", err)
		}
	})
}

// TestConnCarriesFdsAndLargePayloads sends more than a socket buffer holds,
// with an fd, and reads the fd's file on the other side.
func TestConnCarriesFdsAndLargePayloads(t *testing.T) {
	a, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer file.Close()
	b, err := Open(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.Close()
	if _, err := tmp.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	big := Warning{Text: string(bytes.Repeat([]byte("x"), 3<<20))}
	sent := make(chan error, 1)
	go func() { sent <- a.Send(KindPlan, &big, int(tmp.Fd())) }()
	f, err := b.Expect(KindPlan)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	var got Warning
	if err := f.Decode(&got); err != nil || got != big {
		t.Errorf("payload differs (%v)", err)
	}
	if len(f.Files) != 1 {
		t.Fatalf("got %d fds, want 1", len(f.Files))
	}
	defer unix.Close(f.Files[0])
	if flags, _ := unix.FcntlInt(uintptr(f.Files[0]), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		t.Error("a received fd is not close-on-exec")
	}
	buf := make([]byte, 5)
	if _, err := unix.Pread(f.Files[0], buf, 0); err != nil || string(buf) != "hello" {
		t.Errorf("the fd's file holds %q (%v)", buf, err)
	}
	a.Close()
	if _, err := b.Receive(); err != io.EOF {
		t.Errorf("after the other end closed: %v, want EOF", err)
	}
}

func TestBareMessage(t *testing.T) {
	a, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := file.Write(Bare(KindAtGate)); err != nil {
		t.Fatal(err)
	}
	file.Close()
	if f, err := a.Expect(KindAtGate); err != nil || len(f.Payload) != 0 {
		t.Errorf("received %v, %v", f, err)
	}
}

func TestConnRefusesAMalformedFrame(t *testing.T) {
	a, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b, _ := Open(int(file.Fd()))
	if _, err := unix.Write(a.FD(), []byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := b.Receive(); err == nil || err == io.EOF {
		t.Errorf("a frame of 4 GiB: %v", err)
	}
}

func TestFailureKeepsTheErrno(t *testing.T) {
	in := NewFailure(fmt.Errorf("mount: %w", errors.Join(errors.New("x"), unix.EPERM)))
	b, err := Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Failure
	if err := Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(&out, unix.EPERM) || out.Error() != in.Text {
		t.Errorf("got %v", &out)
	}
	if errors.Is(NewFailure(errors.New("plain")), unix.EPERM) {
		t.Error("an error without errno has one")
	}
}

func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hooks bool
		kinds []Kind
		ok    bool
	}{
		{"plain", false, []Kind{KindReady}, true},
		{"with hooks", true, []Kind{KindMounted, KindReady}, true},
		{"warnings", true, []Kind{KindWarning, KindMounted, KindWarning, KindReady}, true},
		{"mounts", true, []Kind{KindOpen, KindMap, KindWarning, KindOpen, KindMounted, KindReady}, true},
		{"mounts without hooks", false, []Kind{KindMap, KindReady}, true},
		{"a mount after the mounts", true, []Kind{KindMounted, KindOpen}, false},
		{"a map after ready", false, []Kind{KindReady, KindMap}, false},
		{"failure", true, []Kind{KindMounted, KindFailed}, true},
		{"hooks not awaited", true, []Kind{KindReady}, false},
		{"mounted twice", true, []Kind{KindMounted, KindMounted}, false},
		{"mounted unasked", false, []Kind{KindMounted}, false},
		{"after ready", false, []Kind{KindReady, KindWarning}, false},
		{"at the gate unasked", false, []Kind{KindReady, KindAtGate}, false},
		{"the runtime's own message", false, []Kind{KindPlan}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Order{Mounts: true}
			var err error
			for _, k := range tt.kinds {
				if err = o.Received(k, tt.hooks); err != nil {
					break
				}
			}
			if (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOrderAtTheGate(t *testing.T) {
	o := Order{AtGate: true}
	if err := o.Received(KindAtGate, false); err == nil {
		t.Error("AtGate is accepted before Ready")
	}
	for _, k := range []Kind{KindReady, KindAtGate} {
		if err := o.Received(k, false); err != nil {
			t.Error(err)
		}
	}
	for _, k := range []Kind{KindAtGate, KindWarning} {
		if err := o.Received(k, false); err == nil {
			t.Errorf("%s is accepted after AtGate", k)
		}
	}
}

func TestOrderWithoutMounts(t *testing.T) {
	for _, k := range []Kind{KindOpen, KindMap} {
		var o Order
		if err := o.Received(k, false); err == nil {
			t.Errorf("%s is accepted of an init that makes no mounts", k)
		}
	}
}
