// log.go: the log lines, as people and engines read them.

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// format is how a handler writes a record.
type format int

const (
	formatPlain format = iota // "gourd: warning: MESSAGE (key=value)": on stderr, for a person
	formatText                // time="…" level=warning msg="…" key=value: in a file; what runc writes too
	formatJSON                // {"level":"warning","msg":"…","time":"…","key":"value"}: what engines parse
)

// handler is a slog.Handler that writes each record with one write, so that
// lines of processes that append to one file do not mix. Levels are lower case:
// containerd looks for level "error".
type handler struct {
	out    io.Writer
	format format
	level  slog.Level
	attrs  []slog.Attr // from With, names already prefixed with their groups
	group  string      // prefix of what follows: "a.b."
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = make([]slog.Attr, 0, len(h.attrs)+len(attrs))
	c.attrs = append(c.attrs, h.attrs...)
	for _, a := range attrs {
		c.attrs = appendFlat(c.attrs, h.group, a)
	}
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.group = h.group + name + "."
	return &c
}

// appendFlat appends a, or the members of a group, with prefixed names.
func appendFlat(to []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() != slog.KindGroup {
		if a.Key == "" {
			return to
		}
		a.Key = prefix + a.Key
		return append(to, a)
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, m := range a.Value.Group() {
		to = appendFlat(to, prefix, m)
	}
	return to
}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs[:len(h.attrs):len(h.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = appendFlat(attrs, h.group, a)
		return true
	})
	var b []byte
	switch h.format {
	case formatJSON:
		b = jsonLine(r, attrs)
	case formatText:
		b = textLine(r, attrs)
	default:
		b = plainLine(r, attrs)
	}
	_, err := h.out.Write(b)
	return err
}

// levelName returns the name that logrus and crun give the level too.
func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warning"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

func plainLine(r slog.Record, attrs []slog.Attr) []byte {
	b := append(make([]byte, 0, 256), "gourd: "...)
	if r.Level < slog.LevelError && r.Level != slog.LevelInfo {
		b = append(b, levelName(r.Level)...)
		b = append(b, ": "...)
	}
	b = append(b, r.Message...)
	sep := " ("
	for _, a := range attrs {
		b = append(b, sep...)
		b = append(b, a.Key...)
		b = append(b, '=')
		b = append(b, text(a.Value)...)
		sep = ", "
	}
	if len(attrs) > 0 {
		b = append(b, ')')
	}
	return append(b, '\n')
}

func textLine(r slog.Record, attrs []slog.Attr) []byte {
	b := append(make([]byte, 0, 256), `time="`...)
	b = r.Time.AppendFormat(b, time.RFC3339)
	b = append(b, `" level=`...)
	b = append(b, levelName(r.Level)...)
	b = append(b, " msg="...)
	b = strconv.AppendQuote(b, r.Message)
	for _, a := range attrs {
		b = append(b, ' ')
		b = append(b, a.Key...)
		b = append(b, '=')
		b = strconv.AppendQuote(b, text(a.Value))
	}
	return append(b, '\n')
}

func jsonLine(r slog.Record, attrs []slog.Attr) []byte {
	b := append(make([]byte, 0, 256), `{"level":"`...)
	b = append(b, levelName(r.Level)...)
	b = append(b, `","msg":`...)
	b = appendJSONString(b, r.Message)
	b = append(b, `,"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339)
	b = append(b, '"')
	for _, a := range attrs {
		b = append(b, ',')
		b = appendJSONString(b, jsonKey(a.Key))
		b = append(b, ':')
		b = appendJSONValue(b, a.Value)
	}
	return append(b, '}', '\n')
}

// jsonKey keeps an attribute from replacing one of the three fields that engines
// read; logrus renames in the same way.
func jsonKey(key string) string {
	switch key {
	case "level", "msg", "time":
		return "fields." + key
	}
	return key
}

func appendJSONValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	}
	if raw, ok := v.Any().(json.RawMessage); ok {
		return append(b, raw...)
	}
	return appendJSONString(b, v.String())
}

// text returns a value for a person. A JSON document is its own text.
func text(v slog.Value) string {
	if raw, ok := v.Any().(json.RawMessage); ok {
		return string(raw)
	}
	return v.String()
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as a JSON string (RFC 8259, section 7). Bytes that
// are not UTF-8, which a path may hold, become U+FFFD.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// printError writes err for a person; of several failures each has its line.
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "gourd: %s\n", strings.ReplaceAll(err.Error(), "\n", "\ngourd: "))
}
