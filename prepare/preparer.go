package prepare

import (
	"errors"
	"log/slog"

	"github.com/gourd-oci/gourd/prepare/store"
)

// Preparer does the verbs on one store.
type Preparer struct {
	Store *store.Store
	// Log takes warnings and notes. It is never nil.
	Log *slog.Logger
	// Progress is told how layers come along. Nil: nobody is.
	Progress Progress
	// Gourd is the runtime's binary.
	Gourd string
	// Self is how a hook of a bundle calls this program with this store: the
	// path, then arguments. Empty: bundles get no hook.
	Self []string
	// Outside are processes that this one may not look at, by Roots of one that may.
	Outside []Root
	// Rootless is whether this process is root of a user namespace only.
	Rootless bool
}

// Progress shows how far layers have come.
type Progress interface {
	// Start begins a bar of total bytes, -1 if nobody knows how many.
	Start(label string, total int64) Bar
	// Stop is called when all bars have ended: others may write then.
	Stop()
}

// Bar is one layer's progress.
type Bar interface {
	Add(n int)
	// End is called once: with nil when the layer is there.
	End(err error)
}

type noBar struct{}

func (noBar) Add(int)   {}
func (noBar) End(error) {}

func (p *Preparer) bar(label string, total int64) Bar {
	if p.Progress == nil {
		return noBar{}
	}
	return p.Progress.Start(label, total)
}

// isNoContainer tells whether an error says that a container is not there.
func isNoContainer(err error) bool { return errors.Is(err, store.ErrNoContainer) }
