// Package hooksd reads directories of hooks, as Podman and CRI-O have them
// (oci-hooks(5), version 1.0.0), decides which of them a config wants, and runs
// those of the stage precreate, which filter the config itself.
//
// The other stages are put into the config: the runtime runs them.
package hooksd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Version is the version of the schema.
const Version = "1.0.0"

// Hook is one file of a directory.
type Hook struct {
	Name    string     `json:"-"` // the file's
	Version string     `json:"version"`
	Hook    specs.Hook `json:"hook"`
	When    When       `json:"when"`
	Stages  []string   `json:"stages"`
}

// When says which containers a hook is for. Every condition that is there must
// hold.
type When struct {
	Always        *bool             `json:"always"`
	Annotations   map[string]string `json:"annotations"`
	Commands      []string          `json:"commands"`
	HasBindMounts *bool             `json:"hasBindMounts"`
}

// The stages.
const Precreate = "precreate"

var stages = []string{Precreate, "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

// DefaultDirs are where packages and administrators put hooks for all
// containers (oci-hooks(5)); the second comes over the first.
var DefaultDirs = []string{"/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"}

// Present returns the directories that are there.
func Present(dirs []string) []string {
	return slices.DeleteFunc(slices.Clone(dirs), func(d string) bool {
		_, err := os.Stat(d)
		return errors.Is(err, os.ErrNotExist)
	})
}

// Read reads the hooks of directories: the files *.json, in the order of their
// names. A file of a later directory takes the place of one of the same name.
// A directory that is not there is an error.
func Read(dirs []string) ([]Hook, error) {
	byName := map[string]string{}
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil {
			return nil, fmt.Errorf("read hooks: %w", err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".json") && !e.IsDir() {
				byName[e.Name()] = filepath.Join(d, e.Name())
			}
		}
	}
	var names []string
	for n := range byName {
		names = append(names, n)
	}
	sort.Slice(names, func(a, b int) bool {
		la, lb := strings.ToLower(names[a]), strings.ToLower(names[b])
		return la < lb || la == lb && names[a] < names[b]
	})
	var hooks []Hook
	for _, n := range names {
		data, err := os.ReadFile(byName[n])
		if err != nil {
			return nil, fmt.Errorf("read hooks: %w", err)
		}
		h, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("hook %s: %w", byName[n], err)
		}
		h.Name = byName[n]
		hooks = append(hooks, *h)
	}
	return hooks, nil
}

// Parse reads and checks one file.
func Parse(data []byte) (*Hook, error) {
	var h Hook
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a condition that is not understood must not be ignored
	if err := d.Decode(&h); err != nil {
		return nil, err
	}
	if h.Version != Version {
		return nil, fmt.Errorf("version %q is not %s", h.Version, Version)
	}
	if !filepath.IsAbs(h.Hook.Path) {
		return nil, fmt.Errorf("hook.path %q is not absolute", h.Hook.Path)
	}
	if h.Hook.Timeout != nil && *h.Hook.Timeout <= 0 {
		return nil, fmt.Errorf("hook.timeout %d is not positive", *h.Hook.Timeout)
	}
	w := h.When
	if w.Always == nil && len(w.Annotations) == 0 && len(w.Commands) == 0 && w.HasBindMounts == nil {
		return nil, errors.New("when: no condition is set")
	}
	for k, v := range w.Annotations {
		for _, re := range []string{k, v} {
			if _, err := regexp.Compile(re); err != nil {
				return nil, fmt.Errorf("when.annotations: %w", err)
			}
		}
	}
	for _, re := range w.Commands {
		if _, err := regexp.Compile(re); err != nil {
			return nil, fmt.Errorf("when.commands: %w", err)
		}
	}
	if len(h.Stages) == 0 {
		return nil, errors.New("stages: there is none")
	}
	for _, s := range h.Stages {
		if !slices.Contains(stages, s) {
			return nil, fmt.Errorf("stages: %q is not one of %s", s, strings.Join(stages, ", "))
		}
	}
	return &h, nil
}

// Matches tells whether a config wants the hook; bindMounts whether its user
// asked for bind mounts.
func (w *When) Matches(s *specs.Spec, bindMounts bool) bool {
	if w.Always != nil && !*w.Always {
		return false
	}
	if w.HasBindMounts != nil && *w.HasBindMounts != bindMounts {
		return false
	}
	for key, value := range w.Annotations {
		k, v := regexp.MustCompile(key), regexp.MustCompile(value) // Parse has checked them
		found := false
		for ak, av := range s.Annotations {
			found = found || k.MatchString(ak) && v.MatchString(av)
		}
		if !found {
			return false
		}
	}
	if len(w.Commands) > 0 {
		if s.Process == nil || len(s.Process.Args) == 0 {
			return false
		}
		return slices.ContainsFunc(w.Commands, func(re string) bool { return regexp.MustCompile(re).MatchString(s.Process.Args[0]) })
	}
	return true
}

// Apply adds the hooks that a config wants to it and returns those of the stage
// precreate.
func Apply(hooks []Hook, s *specs.Spec, bindMounts bool) (precreate []Hook) {
	var wanted []Hook
	for _, h := range hooks {
		if h.When.Matches(s, bindMounts) { // all are asked before any is added
			wanted = append(wanted, h)
		}
	}
	for _, h := range wanted {
		for _, stage := range h.Stages {
			if stage == Precreate {
				precreate = append(precreate, h)
				continue
			}
			if s.Hooks == nil {
				s.Hooks = &specs.Hooks{}
			}
			var list *[]specs.Hook
			switch stage {
			case "prestart":
				//lint:ignore SA1019 it is deprecated, but in the schema
				list = &s.Hooks.Prestart
			case "createRuntime":
				list = &s.Hooks.CreateRuntime
			case "createContainer":
				list = &s.Hooks.CreateContainer
			case "startContainer":
				list = &s.Hooks.StartContainer
			case "poststart":
				list = &s.Hooks.Poststart
			case "poststop":
				list = &s.Hooks.Poststop
			}
			*list = append(*list, h.Hook)
		}
	}
	return precreate
}

// defaultTimeout is how long a filter may take that says nothing.
const defaultTimeout = 60 * time.Second

// maxConfig is how much a filter may write, in bytes.
const maxConfig = 16 << 20

// Filter runs one hook of precreate: the config on its standard input, what it
// writes is the new config.
func (h *Hook) Filter(ctx context.Context, doc []byte) ([]byte, error) {
	timeout := defaultTimeout
	if h.Hook.Timeout != nil {
		timeout = time.Duration(*h.Hook.Timeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Hook.Path)
	cmd.WaitDelay = time.Second // for what it has started and left with its output
	if len(h.Hook.Args) > 0 {
		cmd.Args = h.Hook.Args
	}
	cmd.Env = append([]string{}, h.Hook.Env...)
	cmd.Stdin = bytes.NewReader(doc)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() == context.DeadlineExceeded {
			err = fmt.Errorf("it took longer than %v: %w", timeout, err)
		}
		if said := strings.TrimSpace(errs.String()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return nil, fmt.Errorf("precreate hook %s: %w", h.Name, err)
	}
	if out.Len() > maxConfig {
		return nil, fmt.Errorf("precreate hook %s: it wrote more than %d bytes", h.Name, maxConfig)
	}
	var s specs.Spec
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		return nil, fmt.Errorf("precreate hook %s: what it wrote is no config: %w", h.Name, err)
	}
	return out.Bytes(), nil
}

// Diff lists what differs between two JSON documents, by JSON path.
func Diff(a, b []byte) ([]string, error) {
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &y); err != nil {
		return nil, err
	}
	var out []string
	diff(&out, "", x, y)
	sort.Strings(out)
	return out, nil
}

func diff(out *[]string, at string, x, y any) {
	switch xv := x.(type) {
	case map[string]any:
		yv, ok := y.(map[string]any)
		if !ok {
			break
		}
		for k := range xv {
			diff(out, join(at, k), xv[k], yv[k])
		}
		for k := range yv {
			if _, ok := xv[k]; !ok {
				diff(out, join(at, k), nil, yv[k])
			}
		}
		return
	case []any:
		yv, ok := y.([]any)
		if !ok || len(xv) != len(yv) {
			break
		}
		for i := range xv {
			diff(out, fmt.Sprintf("%s[%d]", at, i), xv[i], yv[i])
		}
		return
	}
	xs, _ := json.Marshal(x)
	ys, _ := json.Marshal(y)
	if !bytes.Equal(xs, ys) {
		*out = append(*out, fmt.Sprintf("%s: %s -> %s", at, xs, ys))
	}
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
