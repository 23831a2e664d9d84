package cli

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{
		"0": 0, "9": unix.SIGKILL, "15": unix.SIGTERM, "34": 34, "64": 64,
		"KILL": unix.SIGKILL, "SIGKILL": unix.SIGKILL, "kill": unix.SIGKILL, "sigKill": unix.SIGKILL,
		"term": unix.SIGTERM, "HUP": unix.SIGHUP, "USR1": unix.SIGUSR1, "WINCH": unix.SIGWINCH, "STKFLT": unix.SIGSTKFLT, "SYS": unix.SIGSYS,
		"IOT": unix.SIGABRT, "CLD": unix.SIGCHLD, "POLL": unix.SIGIO, "IO": unix.SIGIO,
		"RTMIN": 34, "SIGRTMIN": 34, "rtmin+0": 34, "RTMIN+3": 37, "SIGRTMIN+30": 64,
		"RTMAX": 64, "RTMAX-0": 64, "RTMAX-14": 50, "sigrtmax-30": 34,
	} {
		got, err := parseSignal(s)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "SIG", "NOPE", "SIGSIGKILL", "-1", "65", "9999999999999999999", "1.5", "0x9", " KILL",
		"RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMAX-31", "RTMIN+", "RTMIN+-1", "RTMIN++1", "RTMINX", "EXIT",
	} {
		if got, err := parseSignal(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
}
