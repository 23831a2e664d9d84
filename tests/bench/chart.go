package main

import (
	"fmt"
	"html"
	"strings"
)

// colours of the competitors, dark enough for a white page and light enough for
// a dark one.
var colours = map[string]string{"gourd": "#2e9e5b", floorName: "#9aa0a6", "crun": "#3b82c4", "runc": "#d08a2e", "youki": "#a45bb5"}

// charted are the rows of the picture; the table has them all.
var charted = []string{"engine", "create", "start", "state", "kill", "delete", "exec", "parallel", "rss-run", "gate-pss"}

// svg draws the chosen rows as bars: the slowest of a row is the whole width.
func (r *report) svg() string {
	const (
		width, left, bars = 760, 170, 470
		height, gap       = 11, 10
	)
	var b strings.Builder
	y := 34
	x := left
	for _, c := range r.Competitors {
		fmt.Fprintf(&b, `<rect x="%d" y="10" width="11" height="11" fill="%s"/><text x="%d" y="20">%s</text>`+"\n",
			x, colour(c.Name), x+15, html.EscapeString(strings.TrimSpace(c.Name+" "+short(c))))
		x += 110
	}
	for _, key := range charted {
		l := r.row(key)
		if l == nil {
			continue
		}
		most := 0.0
		for _, m := range l.Median {
			most = max(most, m)
		}
		if most == 0 {
			continue
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" font-weight="bold">%s</text>`+"\n", left-8, y+9, html.EscapeString(l.Text))
		for _, c := range r.Competitors {
			m, ok := l.Median[c.Name]
			if !ok {
				continue
			}
			w := max(1, int(m/most*bars))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d">%s %s</text>`+"\n",
				left, y, w, height, colour(c.Name), left+w+5, y+9, number(m), l.Unit)
			y += height + 1
		}
		y += gap
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="10">`+
		"\n<title>gourd beside other runtimes, %s: shorter is better</title>\n"+`<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n%s</svg>\n",
		width, y, width, y, html.EscapeString(r.Date), b.String())
}

// short is the version of a competitor that stands in the picture.
func short(c entrant) string {
	if c.Name == "gourd" {
		return ""
	}
	return c.Version
}

func colour(name string) string {
	if c, ok := colours[name]; ok {
		return c
	}
	return "#777777"
}

func (r *report) row(key string) *line {
	for i := range r.Rows {
		if r.Rows[i].Key == key {
			return &r.Rows[i]
		}
	}
	return nil
}
