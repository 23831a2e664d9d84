package libcontainer

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/nsenter"
)

// idmap is a user namespace that stands for an id mapping.
type idmap struct {
	uids, gids []specs.LinuxIDMapping // none: the container's own
	file       *os.File
}

// mapIDs maps the ids of a mount's tree.
func (m *mounter) mapIDs(mount, tree int) error {
	if mount < 0 || mount >= len(m.plan.Mounts) || m.plan.Mounts[mount].IDMap == nil {
		return fmt.Errorf("init asks for the ids of mounts[%d] to be mapped, which nobody wants", mount)
	}
	want := m.plan.Mounts[mount].IDMap
	file, err := m.userns(want.UIDs, want.GIDs)
	if err != nil {
		return fmt.Errorf("%s: %w", &m.plan.Mounts[mount], err)
	}
	return m.plan.MapIDs(mount, tree, int(file.Fd()))
}

// userns returns the user namespace with these maps, the container's own for
// none, which m.close closes. Mounts with the same maps share one.
func (m *mounter) userns(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	for i := range m.ids {
		if slices.Equal(m.ids[i].uids, uids) && slices.Equal(m.ids[i].gids, gids) {
			return m.ids[i].file, nil
		}
	}
	var file *os.File
	var err error
	if len(uids) == 0 {
		file, err = os.Open("/proc/" + strconv.Itoa(m.pid) + "/ns/user")
	} else {
		file, err = nsenter.UserNamespace(plan.IDMaps(uids), plan.IDMaps(gids))
	}
	if err != nil {
		return nil, err
	}
	m.ids = append(m.ids, idmap{uids, gids, file})
	return file, nil
}
