package libcontainer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/libcontainer/plan"
)

// externalNamespaces are the types that CRIU leaves alone when they are not the
// container's own, and what they are called in an image, as other runtimes call
// them.
var externalNamespaces = map[string]string{"net": "extRootNetNS", "pid": "extRootPidNS"}

// admitJoined checks that CRIU can deal with a container that has joined a
// namespace of this type.
func admitJoined(ns *plan.Joined) error {
	switch ns.Type {
	case "net", "pid", "ipc", "uts":
		return nil
	}
	return fmt.Errorf("it has joined the %s namespace of %s, and CRIU can only have net, pid, ipc and uts joined", ns.Type, ns.Path)
}

// The files with settings that go before those of the command line.
const (
	configAnnotation = "org.criu.config"
	ownConfig        = "/etc/criu/gourd.conf"
	commonConfig     = "/etc/criu/runc.conf" // other runtimes read this one, too
)

// configFile returns the file of CRIU's settings: the one that the annotation
// names, none if it is empty, the host's without it. CRIU ignores one that is
// not there.
func configFile(annotations map[string]string) string {
	if path, ok := annotations[configAnnotation]; ok {
		return path
	}
	if _, err := os.Stat(ownConfig); errors.Is(err, fs.ErrNotExist) {
		return commonConfig
	}
	return ownConfig
}

// keepCgroupOptions returns what gives the host's cgroup2 its options back: CRIU
// (up to 4.2 at least) mounts one without any, which takes them from the host's.
func keepCgroupOptions(log *slog.Logger) (giveBack func(), err error) {
	before, err := cgroups.ReadOptions()
	if err != nil {
		return nil, err
	}
	return func() {
		if err := before.Restore(); err != nil {
			log.Warn(err.Error())
		}
	}, nil
}
