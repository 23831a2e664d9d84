package plan

import (
	"encoding/binary"
	"io"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
)

// A traced init notes the time where a step of the trace begins and where it ends:
// two struct timespec behind the page, by names that initproc has for the same.
const spanSize = 2 * 16

// span begins a step of the trace, which ends where what it returns is called.
func (s *setUp) span(name, what string) (end func()) {
	if !s.i.Facts.Traced {
		return func() {}
	}
	at := pageAt + madeAt + 8*s.most + spanSize*len(s.i.spans)
	s.i.spans = append(s.i.spans, trace.Event{Name: name, What: what})
	s.time(at)
	return func() { s.time(at + spanSize/2) }
}

func (s *setUp) time(at int) {
	s.Call("note the time", unix.SYS_CLOCK_GETTIME, num(unix.CLOCK_REALTIME), num(at))
}

// Steps returns how long each took that has begun.
func (i *StraightInit) Steps(page io.ReaderAt) ([]trace.Event, error) {
	times := make([]byte, spanSize*len(i.spans))
	if _, err := page.ReadAt(times, int64(i.spansAt())); err != nil {
		return nil, err
	}
	word := func(n int) int64 { return int64(binary.NativeEndian.Uint64(times[8*n:])) }
	var list []trace.Event
	for k, e := range i.spans {
		e.Start = word(4*k)*1e9 + word(4*k+1)
		if e.Start == 0 {
			continue
		}
		if end := word(4*k+2)*1e9 + word(4*k+3); end > e.Start {
			e.Took = end - e.Start
		}
		list = append(list, e)
	}
	return list, nil
}
