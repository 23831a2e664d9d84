package linux

import (
	"os"
	"strings"
)

// BootID returns the kernel's random id of this boot, a UUID
// (/proc/sys/kernel/random/boot_id, random(4)).
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}
