package resctrl

import (
	"bytes"
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"

	"github.com/gourd-oci/gourd/internal/trace"
)

// Find returns where resctrl is mounted in gourd's mount namespace, as the mount
// table has it; "" if it is nowhere.
func Find() (string, error) {
	defer trace.Begin("find resctrl").End()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find the resctrl mount: %w", err)
	}
	// The last is what is seen, should there be several at one place.
	place := ""
	_, err = mountinfo.GetMountsFromReader(bytes.NewReader(table), func(m *mountinfo.Info) (skip, stop bool) {
		if m.FSType == "resctrl" && m.Root == "/" {
			place = m.Mountpoint
		}
		return true, false
	})
	if err != nil {
		return "", fmt.Errorf("find the resctrl mount: %w", err)
	}
	return place, nil
}
