package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// plainHandler writes log records as lines for people.
type plainHandler struct {
	mu    sync.Mutex
	w     io.Writer
	level slog.Level
}

func (h *plainHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }
func (h *plainHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *plainHandler) WithGroup(string) slog.Handler                { return h }

func (h *plainHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString("gourd prepare: ")
	if r.Level >= slog.LevelWarn {
		b.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}
