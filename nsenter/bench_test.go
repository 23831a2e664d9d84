package nsenter

import (
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkStart starts and reaps the smallest program that there is: a stub
// that exits.
func BenchmarkStart(b *testing.B) {
	var table Table
	table.Call("exit", unix.SYS_EXIT_GROUP)
	stub, err := Stub(&table, 1, 0)
	if err != nil {
		b.Skip(err)
	}
	exe, err := immutable("exit", func(fd int) error {
		_, err := unix.Pwrite(fd, stub, 0)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer exe.Close()
	for name, r := range map[string]Request{
		"nothing": {},
		"cheap":   {New: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC},
		"user":    {New: unix.CLONE_NEWUSER, UIDMaps: rootMaps, GIDMaps: rootMaps},
	} {
		r.Exe, r.Args, r.CgroupFD, r.Stdio = exe, []string{"exit"}, -1, [3]int{-1, -1, -1}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, err := Start(r)
				if err != nil {
					b.Fatal(err)
				}
				reap(c.PID)
				c.PIDFD.Close()
			}
		})
	}
	b.Run("compile and link", func(b *testing.B) {
		b.ReportAllocs()
		r := Request{New: allNamespaces, UIDMaps: rootMaps, GIDMaps: rootMaps, Exe: exe, Args: []string{"gourd", "init", "3"}, CgroupFD: 9,
			Keep: []int{5, 6, 7}}
		for b.Loop() {
			p := compile(&r, how{clone3: true, cgroupProcs: -1})
			img, at := newImage(p.first.size())
			p.first.link(img, at, end{})
		}
	})
	b.Run("Self(false)", func(b *testing.B) { benchmarkSelf(b, false) })
	b.Run("Self(true)", func(b *testing.B) { benchmarkSelf(b, true) })
}

func benchmarkSelf(b *testing.B, joined bool) {
	for b.Loop() {
		f, err := Self(joined)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
