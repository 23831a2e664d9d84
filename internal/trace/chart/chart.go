// Package chart draws what package trace has written: as bars in a terminal, and
// as a picture. It reads other traces of the same format too, and knows nothing
// of containers.
package chart

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// Bar is one step.
type Bar struct {
	Process string  // whose step it is
	Name    string  // the step
	Depth   int     // how many steps of the same process it lies in
	Start   float64 // microseconds since the beginning of the timeline
	Took    float64 // microseconds
}

// Timeline is a time without a pause: what one verb did, or several at once.
type Timeline struct {
	Title string
	Took  float64 // microseconds
	Bars  []Bar
}

// event is what of an event is looked at.
type event struct {
	Name  string  `json:"name"`
	Phase string  `json:"ph"`
	TS    float64 `json:"ts"`
	Dur   float64 `json:"dur"`
	PID   int     `json:"pid"`
	TID   int     `json:"tid"`
	Args  struct {
		Name string `json:"name"`
	} `json:"args"`
}

// Read reads a trace: an array of events, or an object that has one.
func Read(r io.Reader) ([]Timeline, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var events []event
	if err := json.Unmarshal(data, &events); err != nil {
		var object struct {
			Events []event `json:"traceEvents"`
		}
		if json.Unmarshal(data, &object) != nil {
			return nil, fmt.Errorf("not a trace: %w", err)
		}
		events = object.Events
	}
	return timelines(events), nil
}

// timelines sorts the events and cuts them where nothing happens.
func timelines(events []event) (all []Timeline) {
	names := map[int]string{}
	var steps []event
	for _, e := range events {
		switch {
		case e.Phase == "M" && e.Name == "process_name":
			names[e.PID] = e.Args.Name
		case e.Phase == "X":
			steps = append(steps, e)
		}
	}
	slices.SortStableFunc(steps, func(a, b event) int {
		switch {
		case a.TS < b.TS, a.TS == b.TS && a.Dur > b.Dur:
			return -1
		case a.TS > b.TS, a.TS == b.TS && a.Dur < b.Dur:
			return 1
		}
		return 0
	})
	var begin, end float64
	open := map[int][]float64{} // of a thread, the ends of what is open
	for _, e := range steps {
		if len(all) == 0 || e.TS > end {
			begin, end = e.TS, e.TS
			all = append(all, Timeline{Title: e.Name})
		}
		t := &all[len(all)-1]
		ends := open[e.TID]
		for len(ends) > 0 && ends[len(ends)-1] <= e.TS {
			ends = ends[:len(ends)-1]
		}
		process, _, _ := strings.Cut(names[e.PID], " ")
		t.Bars = append(t.Bars, Bar{Process: process, Name: e.Name, Depth: len(ends), Start: e.TS - begin, Took: e.Dur})
		open[e.TID] = append(ends, e.TS+e.Dur)
		end = max(end, e.TS+e.Dur)
		t.Took = end - begin
	}
	return all
}

// name returns a bar's name, moved in by its depth.
func (b *Bar) name() string { return strings.Repeat("  ", b.Depth) + b.Name }

// ms prints microseconds as milliseconds.
func ms(us float64) string { return fmt.Sprintf("%.3f ms", us/1000) }

// Text draws timelines in lines of at most width characters.
func Text(w io.Writer, all []Timeline, width int) error {
	var b strings.Builder
	for i := range all {
		t := &all[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s\n", t.Title, ms(t.Took))
		process, step := 0, 0
		for j := range t.Bars {
			process = max(process, len([]rune(t.Bars[j].Process)))
			step = max(step, len([]rune(t.Bars[j].name())))
		}
		step = min(step, max(24, width/2-process))
		room := max(10, width-process-step-17)
		for j := range t.Bars {
			bar := &t.Bars[j]
			name := []rune(bar.name())
			if len(name) > step {
				name = append(name[:step-1], '…')
			}
			from, to := scale(bar, t.Took, room)
			fmt.Fprintf(&b, "  %-*s  %-*s %9.3f  %s%s\n", process, bar.Process, step, string(name), bar.Took/1000,
				strings.Repeat(" ", from), strings.Repeat("█", max(1, to-from)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// scale returns where a bar begins and ends in room places.
func scale(b *Bar, took float64, room int) (from, to int) {
	if took <= 0 {
		return 0, 0
	}
	at := func(us float64) int { return int(us/took*float64(room) + 0.5) }
	return min(at(b.Start), room-1), at(b.Start + b.Took)
}

// colours of the processes, in the order in which they appear.
var colours = [...]string{"#2e9e5b", "#3b82c4", "#d08a2e", "#a45bb5"}

// SVG draws timelines as a picture.
func SVG(w io.Writer, all []Timeline) error {
	const left, bars, line, width = 300, 560, 16, 300 + 560 + 90
	var b strings.Builder
	colour := map[string]string{}
	y := 10
	for i := range all {
		t := &all[i]
		y += line
		fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s: %s</text>`+"\n", y, html.EscapeString(t.Title), ms(t.Took))
		y += 6
		for j := range t.Bars {
			bar := &t.Bars[j]
			if colour[bar.Process] == "" {
				colour[bar.Process] = colours[len(colour)%len(colours)]
			}
			x, wide := 0.0, 0.0
			if t.Took > 0 {
				x, wide = bar.Start/t.Took*bars, bar.Took/t.Took*bars
			}
			fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text><rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"><title>%s, %s: %s</title></rect>`+
				`<text x="%.2f" y="%d" fill="#555555">%s</text>`+"\n",
				10+10*bar.Depth, y+11, html.EscapeString(short(bar.Name, 46-2*bar.Depth)),
				left+x, y+2, max(0.5, wide), line-4, colour[bar.Process],
				html.EscapeString(bar.Process), html.EscapeString(bar.Name), ms(bar.Took),
				left+x+max(0.5, wide)+4, y+11, ms(bar.Took))
			y += line
		}
		y += 10
	}
	x := left
	for _, c := range colours { // a legend of the processes
		for p, own := range colour {
			if own == c {
				fmt.Fprintf(&b, `<rect x="%d" y="8" width="10" height="10" fill="%s"/><text x="%d" y="17">%s</text>`+"\n", x, c, x+14, html.EscapeString(p))
				x += 100
			}
		}
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="11">`+
		"\n"+`<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n%s</svg>\n", width, y, width, y, b.String())
	return err
}

// short cuts a text to n characters.
func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:max(1, n-1)]) + "…"
	}
	return s
}
