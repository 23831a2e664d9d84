package linux

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseProcStat(t *testing.T) {
	tail := " 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 18446744073709551615 1 2 3"
	for _, tt := range []struct {
		line string
		want ProcStat
		bad  bool
	}{
		{"42 (cat) S" + tail, ProcStat{'S', 1, 3, 1<<64 - 1}, false},
		{"42 (a) R (b) Z" + tail + "\n", ProcStat{'Z', 1, 3, 1<<64 - 1}, false},
		{"42 () 1 2 3 () X" + tail, ProcStat{'X', 1, 3, 1<<64 - 1}, false},
		{"", ProcStat{}, true},
		{"42 (cat", ProcStat{}, true},
		{"42 (cat)", ProcStat{}, true},
		{"42 (cat) SS" + tail, ProcStat{}, true},
		{"42 (cat) S 1 2 3", ProcStat{}, true},
		{"42 (cat) S" + strings.Replace(tail, " 3 ", " x ", 1), ProcStat{}, true},
		{"42 (cat) S" + strings.Replace(tail, "1844", "-1844", 1), ProcStat{}, true},
	} {
		got, err := parseProcStat(tt.line)
		if (err != nil) != tt.bad || !tt.bad && got != tt.want {
			t.Errorf("%q: %+v, %v, want %+v", tt.line, got, err, tt.want)
		}
	}
}

func FuzzParseProcStat(f *testing.F) {
	f.Add("42 (cat) S 1 1")
	f.Fuzz(func(t *testing.T, line string) { _, _ = parseProcStat(line) })
}

func TestReadProcStat(t *testing.T) {
	st, err := ReadProcStat(os.Getpid())
	if err != nil || st.State != 'R' && st.State != 'S' || st.Threads < 1 || st.Start == 0 || st.Ended() {
		t.Errorf("of this process: %+v, %v", st, err)
	}
	if _, err := ReadProcStat(1 << 30); !errors.Is(err, unix.ENOENT) {
		t.Errorf("of no process: %v, want ENOENT", err)
	}
}

func TestEnded(t *testing.T) {
	for st, want := range map[ProcStat]bool{
		{State: 'R', Threads: 1}: false, {State: 'T', Threads: 1}: false, {State: 'Z', Threads: 1}: true,
		{State: 'Z', Threads: 2}: false, {State: 'X'}: true, {State: 'x'}: true,
	} {
		if st.Ended() != want {
			t.Errorf("%+v: %v", st, !want)
		}
	}
}
