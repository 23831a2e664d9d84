package chart

import (
	"encoding/xml"
	"strings"
	"testing"
)

const made = `[
{"name":"process_name","ph":"M","ts":0,"pid":1,"tid":1,"args":{"name":"gourd create web"}},
{"name":"process_name","ph":"M","ts":0,"pid":2,"tid":2,"args":{"name":"init"}},
{"name":"gourd create web","ph":"X","ts":0,"dur":1000,"pid":1,"tid":1},
{"name":"wait <for> init","ph":"X","ts":500,"dur":500,"pid":1,"tid":1},
{"name":"mount /proc","ph":"X","ts":600,"dur":100,"pid":2,"tid":2},
{"name":"gourd start web","ph":"X","ts":9000000,"dur":50,"pid":3,"tid":3}
]`

// TestText: a bar for each step, where it lies in its own timeline.
func TestText(t *testing.T) {
	all, err := Read(strings.NewReader(made))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Text(&b, all, 62); err != nil {
		t.Fatal(err)
	}
	const want = `gourd create web: 1.000 ms
  gourd  gourd create web      1.000  ███████████████████████
  gourd    wait <for> init     0.500              ███████████
  init   mount /proc           0.100                ██

gourd start web: 0.050 ms
    gourd start web     0.050  ██████████████████████████████
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestSVG(t *testing.T) {
	all, err := Read(strings.NewReader(`{"traceEvents":` + made + `}`))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := SVG(&b, all); err != nil {
		t.Fatal(err)
	}
	var picture struct {
		Rects []struct {
			X string `xml:"x,attr"`
		} `xml:"rect"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &picture); err != nil {
		t.Fatalf("%v:\n%s", err, b.String())
	}
	if len(picture.Rects) != 1+4+3 || picture.Rects[2].X != "580.00" {
		t.Errorf("%d rectangles: %v", len(picture.Rects), picture.Rects)
	}
}

func TestNoTrace(t *testing.T) {
	if _, err := Read(strings.NewReader("hello")); err == nil {
		t.Error("it was taken for a trace")
	}
}
