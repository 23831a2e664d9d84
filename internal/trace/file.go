package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// The file is an array of the Chrome trace event format (complete events, "X",
// in microseconds), which Perfetto and chrome://tracing open. A further trace is
// put behind what is in it, so that the verbs of a container's life make one
// timeline. Times are from the file's origin on, which its first event tells:
// microseconds since 1970 would not fit into a JSON number that a reader may
// take for a double.

// originName is the name of the first event of a file.
const originName = "gourd trace"

// Open opens the file of --trace, and makes it if it is not there.
func Open(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err == nil {
		_, _, err = originOf(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Save ends the trace and writes it into f.
func Save(f *os.File) error {
	if !on {
		return nil
	}
	recorder.Lock()
	defer recorder.Unlock()
	all := append([]process{recorder.own}, recorder.others...)
	all[0].events = all[0].closed(clock())
	if err := save(f, all); err != nil {
		return fmt.Errorf("write the trace %s: %w", f.Name(), err)
	}
	return nil
}

func save(f *os.File, all []process) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // until f is closed
		return err
	}
	origin, at, err := originOf(f)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if at > 0 {
		b.WriteString(",\n")
	} else {
		origin = all[0].events[0].Start
		fmt.Fprintf(&b, `[`+"\n"+`{"name":%q,"ph":"M","ts":0,"pid":0,"tid":0,"args":{"unix_ns":"%d"}},`+"\n", originName, origin)
	}
	for i := range all {
		if i > 0 {
			b.WriteString(",\n")
		}
		if err := all[i].write(&b, origin); err != nil {
			return err
		}
	}
	b.WriteString("\n]\n")
	if _, err := f.WriteAt(b.Bytes(), at); err != nil {
		return err
	}
	return f.Close()
}

// originOf returns the origin of a file that has events already, and where a
// further one belongs; at is 0 for an empty file.
func originOf(f *os.File) (origin, at int64, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return 0, 0, err
	}
	foreign := fmt.Errorf("%s is not empty and no trace of gourd's", f.Name())
	lines := bufio.NewReader(io.NewSectionReader(f, 0, size))
	open, _ := lines.ReadString('\n')
	first, _ := lines.ReadString('\n')
	var head struct {
		Name string `json:"name"`
		Args struct {
			Origin string `json:"unix_ns"`
		} `json:"args"`
	}
	text := bytes.TrimSuffix([]byte(first), []byte(",\n"))
	if open != "[\n" || json.Unmarshal(text, &head) != nil || head.Name != originName {
		return 0, 0, foreign
	}
	if origin, err = strconv.ParseInt(head.Args.Origin, 10, 64); err != nil {
		return 0, 0, foreign
	}
	tail := make([]byte, 3)
	if _, err := f.ReadAt(tail, size-3); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	if string(tail) != "\n]\n" {
		return 0, 0, foreign
	}
	return origin, size - 3, nil
}

// write writes a process's events, with commas between them.
func (p *process) write(b *bytes.Buffer, origin int64) error {
	name, err := json.Marshal(p.name)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, `{"name":"process_name","ph":"M","ts":0,"pid":%d,"tid":%d,"args":{"name":%s}}`, p.pid, p.pid, name)
	for _, e := range p.lanes() {
		text := e.Name
		if e.What != "" {
			text += " " + e.What
		}
		if name, err = json.Marshal(text); err != nil {
			return err
		}
		fmt.Fprintf(b, ",\n"+`{"name":%s,"ph":"X","ts":%s,"dur":%s,"pid":%d,"tid":%d}`,
			name, micro(e.Start-origin), micro(e.Took), p.pid, p.pid+e.lane*pidLimit)
	}
	return nil
}

// pidLimit is more than any pid (proc(5), pid_max): what is done at the same time
// gets a thread that nobody else can be.
const pidLimit = 1 << 22

// micro returns nanoseconds as microseconds.
func micro(ns int64) string { return strconv.FormatFloat(float64(ns)/1e3, 'f', 3, 64) }

type laneEvent struct {
	Event
	lane int
}

// lanes orders the events by their start, and puts what overlaps without lying
// in one another on different lanes: the format wants the events of a thread to
// nest.
func (p *process) lanes() []laneEvent {
	list := make([]laneEvent, len(p.events))
	for i, e := range p.events {
		list[i].Event = e
	}
	slices.SortStableFunc(list, func(a, b laneEvent) int {
		switch {
		case a.Start != b.Start:
			return cmp(a.Start, b.Start)
		}
		return cmp(b.Took, a.Took)
	})
	var open [][]int64 // of each lane, the ends of what is open
next:
	for i := range list {
		e := &list[i]
		for lane := range open {
			ends := open[lane]
			for len(ends) > 0 && ends[len(ends)-1] <= e.Start {
				ends = ends[:len(ends)-1]
			}
			open[lane] = ends
			if len(ends) == 0 || e.Start+e.Took <= ends[len(ends)-1] {
				open[lane], e.lane = append(ends, e.Start+e.Took), lane
				continue next
			}
		}
		open, e.lane = append(open, []int64{e.Start + e.Took}), len(open)
	}
	return list
}

func cmp(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
