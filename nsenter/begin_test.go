package nsenter

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// begin is finish, for Begin.
func begin(t *testing.T, before func(*Tail)) *Running {
	t.Helper()
	r := finish(t, "/bin/true", before)
	r.Ready = nil
	c, err := Begin(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Leave()
		c.PIDFD.Close()
	})
	return c
}

// TestBegin is a child that works while its parent does other things, and with
// which it speaks.
func TestBegin(t *testing.T) {
	c := begin(t, func(tail *Tail) {
		tail.Say("say one")
		tail.Await("wait for the parent")
		tail.Say("say two")
	})
	for range 2 {
		if err := c.Await(); err != nil {
			t.Fatal(err)
		}
		if err := c.Go(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Await(); err != io.EOF {
		t.Errorf("at the execve: %v", err)
	}
	waitExit(t, &c.Child, 0)
}

// TestBeginFails is a step that fails.
func TestBeginFails(t *testing.T) {
	c := begin(t, func(tail *Tail) {
		tail.Say("say one")
		tail.Call("close nothing", unix.SYS_CLOSE, Num(-1))
	})
	if err := c.Await(); err != nil {
		t.Fatal(err)
	}
	var failed *StepError
	if err := c.Await(); !errors.As(err, &failed) || failed.Why != "close nothing" || failed.Errno != unix.EBADF {
		t.Errorf("the failing step is told as %v", err)
	}
	waitExit(t, &c.Child, exitFailed)
}

// TestBeginIsLeft is a parent that goes away: what it said before still counts, and
// then the child ends by itself.
func TestBeginIsLeft(t *testing.T) {
	c := begin(t, func(tail *Tail) {
		tail.Await("wait once")
		tail.Await("wait twice")
	})
	if err := c.Go(); err != nil {
		t.Fatal(err)
	}
	c.Leave()
	waitExit(t, &c.Child, exitFailed)
}

// TestSetAndMask is what the interpreter does without a system call: a store, and
// a comparison of some bits.
func TestSetAndMask(t *testing.T) {
	fd, err := unix.MemfdCreate("words", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	words := os.NewFile(uintptr(fd), "words")
	defer words.Close()
	r := finish(t, "/bin/true", func(tail *Tail) {
		word := tail.Words(0xab00cd)
		jump := func(value, mask int) {
			tail.Add(Step{Kind: Jump, Args: [6]Arg{word, Num(value), Num(mask)}, Target: tail.Here() + 2})
			tail.Set("", word, Num(1)) // skipped, if it is equal
		}
		jump(0xab0000, 0xff0000)
		jump(0xab00cd, 0)
		jump(0xab00cd, -1)
		copyOf := tail.Cell()
		tail.Set("", copyOf, word) // an address
		tail.Call("write what is at the address", unix.SYS_WRITE, Num(fd), copyOf.Value(), Num(8))
		jump(0xab0001, 0xff0000) // not equal: the store is done
		tail.Call("write what is there now", unix.SYS_WRITE, Num(fd), word, Num(8))
	})
	r.Ready = nil
	r.Uses = []int{fd}
	c, err := Begin(r)
	if err != nil {
		t.Fatal(err)
	}
	defer c.PIDFD.Close()
	if err := c.Await(); err != io.EOF {
		t.Errorf("the child: %v", err)
	}
	c.Leave()
	waitExit(t, &c.Child, 0)
	var b [16]byte
	if _, err := words.ReadAt(b[:], 0); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if one, two := le.Uint64(b[:]), le.Uint64(b[8:]); one != 0xab00cd || two != 1 {
		t.Errorf("the words are %#x and %#x", one, two)
	}
}
