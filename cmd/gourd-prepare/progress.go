package main

import (
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/gourd-oci/gourd/prepare"
)

// bars shows a bar for each layer.
type bars struct {
	w  io.Writer
	mu sync.Mutex
	p  *mpb.Progress // nil: nothing is shown now
}

func (b *bars) Start(label string, total int64) prepare.Bar {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.p == nil {
		b.p = mpb.New(mpb.WithOutput(b.w), mpb.WithWidth(60))
	}
	return bar{b.p.AddBar(max(total, 0),
		mpb.PrependDecorators(decor.Name(label+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))}
}

// Stop shows the last state of the bars and leaves the terminal alone.
func (b *bars) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.p != nil {
		b.p.Wait()
		b.p = nil
	}
}

type bar struct{ b *mpb.Bar }

func (b bar) Add(n int) { b.b.IncrBy(n) }

func (b bar) End(err error) {
	if err != nil {
		b.b.Abort(false)
		return
	}
	b.b.SetTotal(-1, true)
}
