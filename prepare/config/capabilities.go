package config

import (
	"fmt"
	"slices"
	"strings"
)

// defaultCapabilities are what root of a container may do unless something
// else is asked for: docker's list, which images are made for.
func defaultCapabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// allCapabilities are those of capabilities(7), Linux 5.9 and later.
func allCapabilities() []string {
	return []string{
		"CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_BLOCK_SUSPEND", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
		"CAP_KILL", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_MKNOD", "CAP_NET_ADMIN",
		"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_RAW", "CAP_PERFMON", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP",
		"CAP_SETUID", "CAP_SYSLOG", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_NICE",
		"CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_WAKE_ALARM",
	}
}

// capabilities changes the default list. ALL comes first on either side, so
// that "drop ALL, add CHOWN" leaves CHOWN.
func capabilities(add, drop []string) ([]string, error) {
	add, err := capNames(add)
	if err != nil {
		return nil, err
	}
	if drop, err = capNames(drop); err != nil {
		return nil, err
	}
	caps := defaultCapabilities()
	if slices.Contains(add, "ALL") {
		caps = allCapabilities()
	}
	if slices.Contains(drop, "ALL") {
		caps = nil
	}
	for _, c := range add {
		if c != "ALL" {
			caps = append(caps, c)
		}
	}
	caps = slices.DeleteFunc(caps, func(c string) bool { return slices.Contains(drop, c) })
	slices.Sort(caps)
	return slices.Compact(caps), nil
}

// capNames brings names into the spec's form.
func capNames(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		for n := range strings.SplitSeq(n, ",") {
			c := strings.ToUpper(n)
			if c == "ALL" {
				out = append(out, c)
				continue
			}
			if !strings.HasPrefix(c, "CAP_") {
				c = "CAP_" + c
			}
			if !slices.Contains(allCapabilities(), c) {
				return nil, fmt.Errorf("capability %q is not known", n)
			}
			out = append(out, c)
		}
	}
	return out, nil
}
