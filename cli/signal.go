// signal.go: the names of signals.

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The real-time signals as userland numbers them: the C library keeps the
// kernel's first two for itself (signal(7)).
const (
	sigRTMin = 34
	sigRTMax = 64
)

// parseSignal returns the signal that s names: a number from 0 to 64, or a name
// in any case, with or without SIG.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > sigRTMax {
			return 0, fmt.Errorf("signal %s is not between 0 and %d", s, sigRTMax)
		}
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig, ok := realTimeSignal(name); ok {
		return sig, nil
	}
	switch name {
	case "IOT":
		return unix.SIGIOT, nil
	case "CLD":
		return unix.SIGCLD, nil
	case "POLL":
		return unix.SIGPOLL, nil
	case "UNUSED":
		return unix.SIGSYS, nil
	case "":
		return 0, fmt.Errorf("unknown signal %q", s)
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

// realTimeSignal reads RTMIN, RTMIN+n, RTMAX and RTMAX-n.
func realTimeSignal(name string) (unix.Signal, bool) {
	base, sign := sigRTMin, "+"
	rest, ok := strings.CutPrefix(name, "RTMIN")
	if !ok {
		base, sign = sigRTMax, "-"
		if rest, ok = strings.CutPrefix(name, "RTMAX"); !ok {
			return 0, false
		}
	}
	if rest == "" {
		return unix.Signal(base), true
	}
	digits, ok := strings.CutPrefix(rest, sign)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 8)
	if err != nil || n > sigRTMax-sigRTMin {
		return 0, false
	}
	if sign == "-" {
		return unix.Signal(base - int(n)), true
	}
	return unix.Signal(base + int(n)), true
}
