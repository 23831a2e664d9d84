package main

import (
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/gourd-oci/gourd/prepare"
)

// bars shows a bar for each layer.
type bars struct{ p *mpb.Progress }

func newBars(w io.Writer) bars { return bars{mpb.New(mpb.WithOutput(w), mpb.WithWidth(60))} }

func (b bars) Start(label string, total int64) prepare.Bar {
	return bar{b.p.AddBar(max(total, 0),
		mpb.PrependDecorators(decor.Name(label+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))}
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
