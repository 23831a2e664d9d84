package prepare

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/prepare/hooksd"
)

// hooks applies the hooks of directories to a config, and adds own, the last of
// all, for it may remove the bundle. The hooks of precreate then filter the
// config, and what they change is logged.
func (p *Preparer) hooks(ctx context.Context, doc []byte, dirs []string, bindMounts bool, own []specs.Hook) ([]byte, error) {
	if len(dirs) == 0 && !p.Rootless {
		dirs = hooksd.Present(hooksd.DefaultDirs)
	}
	dirs = slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d == "" })
	if len(dirs) == 0 && len(own) == 0 {
		return doc, nil
	}
	all, err := hooksd.Read(dirs)
	if err != nil {
		return nil, err
	}
	var s specs.Spec
	if err := json.Unmarshal(doc, &s); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	precreate := hooksd.Apply(all, &s, bindMounts)
	if len(own) > 0 {
		if s.Hooks == nil {
			s.Hooks = &specs.Hooks{}
		}
		s.Hooks.Poststop = append(s.Hooks.Poststop, own...)
	}
	if doc, err = json.Marshal(&s); err != nil {
		return nil, err
	}
	for _, h := range precreate {
		after, err := h.Filter(ctx, doc)
		if err != nil {
			return nil, err
		}
		changes, err := hooksd.Diff(doc, after)
		if err != nil {
			return nil, fmt.Errorf("precreate hook %s: %w", h.Name, err)
		}
		for _, c := range changes {
			p.Log.Info("precreate hook changes "+c, "hook", h.Name)
		}
		doc = after
	}
	return doc, nil
}
