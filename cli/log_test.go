package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestLogFormats(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600))
	record := func(l slog.Level, msg string, args ...any) slog.Record {
		r := slog.NewRecord(at, l, msg, 0)
		r.Add(args...)
		return r
	}
	for _, tt := range []struct {
		name              string
		r                 slog.Record
		plain, text, json string
	}{
		{
			"an error", record(slog.LevelError, `container "x" does not exist`),
			"gourd: container \"x\" does not exist\n",
			"time=\"2026-01-02T03:04:05+01:00\" level=error msg=\"container \\\"x\\\" does not exist\"\n",
			`{"level":"error","msg":"container \"x\" does not exist","time":"2026-01-02T03:04:05+01:00"}` + "\n",
		},
		{
			"a warning with attributes", record(slog.LevelWarn, "slow", "id", "web", "pid", 7, "ok", true, "err", errors.New("no")),
			"gourd: warning: slow (id=web, pid=7, ok=true, err=no)\n",
			"time=\"2026-01-02T03:04:05+01:00\" level=warning msg=\"slow\" id=\"web\" pid=\"7\" ok=\"true\" err=\"no\"\n",
			`{"level":"warning","msg":"slow","time":"2026-01-02T03:04:05+01:00","id":"web","pid":7,"ok":true,"err":"no"}` + "\n",
		},
		{
			"lines and controls", record(slog.LevelInfo, "a\nb\t\x01\x7f\\"),
			"gourd: a\nb\t\x01\x7f\\\n",
			"time=\"2026-01-02T03:04:05+01:00\" level=info msg=\"a\\nb\\t\\x01\\x7f\\\\\"\n",
			`{"level":"info","msg":"a\nb\t\u0001\u007f\\","time":"2026-01-02T03:04:05+01:00"}` + "\n",
		},
		{
			"what is not UTF-8", record(slog.LevelDebug, "é\xff"),
			"gourd: debug: é\xff\n",
			"time=\"2026-01-02T03:04:05+01:00\" level=debug msg=\"é\\xff\"\n",
			`{"level":"debug","msg":"é` + "\uFFFD" + `","time":"2026-01-02T03:04:05+01:00"}` + "\n",
		},
		{
			"a document", record(slog.LevelDebug, "plan", "plan", json.RawMessage(`{"a":1}`)),
			"gourd: debug: plan (plan={\"a\":1})\n",
			"time=\"2026-01-02T03:04:05+01:00\" level=debug msg=\"plan\" plan=\"{\\\"a\\\":1}\"\n",
			`{"level":"debug","msg":"plan","time":"2026-01-02T03:04:05+01:00","plan":{"a":1}}` + "\n",
		},
		{
			"an attribute with the name of a field", record(slog.LevelInfo, "x", "msg", "y"),
			"gourd: x (msg=y)\n",
			"time=\"2026-01-02T03:04:05+01:00\" level=info msg=\"x\" msg=\"y\"\n",
			`{"level":"info","msg":"x","time":"2026-01-02T03:04:05+01:00","fields.msg":"y"}` + "\n",
		},
		{
			"a group", record(slog.LevelInfo, "x", slog.Group("g", "a", 1, slog.Group("h", "b", 2))),
			"gourd: x (g.a=1, g.h.b=2)\n",
			"time=\"2026-01-02T03:04:05+01:00\" level=info msg=\"x\" g.a=\"1\" g.h.b=\"2\"\n",
			`{"level":"info","msg":"x","time":"2026-01-02T03:04:05+01:00","g.a":1,"g.h.b":2}` + "\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for f, want := range map[format]string{formatPlain: tt.plain, formatText: tt.text, formatJSON: tt.json} {
				var b bytes.Buffer
				if err := (&handler{out: &b, format: f}).Handle(context.Background(), tt.r); err != nil {
					t.Fatal(err)
				}
				if b.String() != want {
					t.Errorf("got  %q\nwant %q", b.String(), want)
				}
			}
			if !json.Valid([]byte(tt.json)) {
				t.Errorf("not JSON: %s", tt.json)
			}
		})
	}
}

func TestLogWithAndGroup(t *testing.T) {
	var b bytes.Buffer
	base := slog.New(&handler{out: &b, format: formatPlain, level: slog.LevelInfo})
	one := base.With("id", "web")
	two := one.WithGroup("hook").With("path", "/h")
	two.Info("ran", "code", 1)
	one.Info("x", "n", 2)
	base.Debug("not to be seen")
	base.Info("y")
	want := "gourd: ran (id=web, hook.path=/h, hook.code=1)\ngourd: x (id=web, n=2)\ngourd: y\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestLogIsOneWrite(t *testing.T) {
	w := &countWrites{}
	log := slog.New(&handler{out: w, format: formatJSON})
	log.Error("a long one", "key", "value", "other", 1)
	if w.n != 1 {
		t.Errorf("%d writes for one line: lines of several processes would mix", w.n)
	}
}

type countWrites struct{ n int }

func (w *countWrites) Write(p []byte) (int, error) { w.n++; return len(p), nil }

// FuzzJSONString: any bytes make a JSON string that reads back as they were, but
// for what is not UTF-8.
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", "\"\\\n\r\t", "\x00\x1f\x7f", "\u2028é\xff\xc0", "</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		if err := json.Unmarshal(appendJSONString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		ref, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ref, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	})
}
