// Package hooks compiles the hooks of a config.json and runs those of one
// phase: in order, with the container's state on stdin, and each with its
// timeout. What a failing hook has written is in its error.
//
// It does not know when a phase is due, in which namespaces it runs, or what
// follows from a failure: a hook runs where the caller is.
package hooks

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// Hook is one hook: plain data.
type Hook struct {
	Index   int      // its place in its phase, for errors
	Path    string   // absolute
	Args    []string // argv, the name included; empty means the path alone
	Env     []string // the whole environment, see HasEnv
	HasEnv  bool     // Env was given, if only as an empty list
	Timeout int      // in seconds; 0 means none
}

// Plan is the hooks of a config: plain data.
type Plan struct {
	Prestart, CreateRuntime, CreateContainer, StartContainer, Poststart, Poststop []Hook
}

// Compile returns the plan for a config's hooks (runtime-spec, config.md,
// "POSIX-platform Hooks"); h may be nil. Whether a path exists is not looked
// at: an earlier hook or a mount may bring it.
func Compile(h *specs.Hooks, d *defect.List) Plan {
	if h == nil {
		return Plan{}
	}
	return Plan{
		//lint:ignore SA1019 deprecated for those who write configs
		Prestart:        compile("prestart", h.Prestart, d),
		CreateRuntime:   compile("createRuntime", h.CreateRuntime, d),
		CreateContainer: compile("createContainer", h.CreateContainer, d),
		StartContainer:  compile("startContainer", h.StartContainer, d),
		Poststart:       compile("poststart", h.Poststart, d),
		Poststop:        compile("poststop", h.Poststop, d),
	}
}

func compile(phase string, hs []specs.Hook, d *defect.List) []Hook {
	if len(hs) == 0 {
		return nil
	}
	list := make([]Hook, len(hs))
	for i := range hs {
		h := &hs[i]
		where := "hooks." + phase + "[" + strconv.Itoa(i) + "]"
		switch {
		case h.Path == "":
			d.Add(where+".path", "is missing")
		case h.Path[0] != '/':
			d.Add(where+".path", "%q is not absolute", h.Path)
		case hasNUL(h.Path):
			d.Add(where+".path", "%q contains a byte 0", h.Path)
		}
		noNUL(where+".args", h.Args, d)
		noNUL(where+".env", h.Env, d)
		list[i] = Hook{Index: i, Path: h.Path, Args: h.Args, Env: h.Env, HasEnv: h.Env != nil}
		if t := h.Timeout; t != nil {
			// The spec wants more than 0; so much that it overflows is forever.
			if *t <= 0 {
				d.Add(where+".timeout", "%d is not greater than 0", *t)
			}
			list[i].Timeout = min(*t, maxTimeout)
		}
	}
	return list
}

// maxTimeout is some 68 years, in seconds, and fits a time.Duration.
const maxTimeout = 1<<31 - 1

func noNUL(where string, list []string, d *defect.List) {
	for i, s := range list {
		if hasNUL(s) {
			d.Add(where+"["+strconv.Itoa(i)+"]", "%q contains a byte 0", s)
		}
	}
}

func hasNUL(s string) bool {
	for i := range len(s) {
		if s[i] == 0 {
			return true
		}
	}
	return false
}
