package libcontainer

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

// ExecProcess says what an exec runs: what is in File, or the container's own
// process with Args in place of its program and the rest on top of it.
type ExecProcess struct {
	// File is --process; if it is given, nothing else here counts. Ignored are
	// the flags, and the command, that were given nevertheless.
	File    string
	Ignored []string
	// Args is the program and its arguments.
	Args []string
	// Cwd, AppArmorProfile and SELinuxLabel replace the container's unless
	// they are empty.
	Cwd, AppArmorProfile, SELinuxLabel string
	// Env and AdditionalGIDs are added to the container's.
	Env            []string
	AdditionalGIDs []uint32
	// UID and GID replace the container's, each by itself.
	UID, GID *uint32
	// Capabilities are added to the bounding, permitted and effective sets,
	// never to the inheritable one (CVE-2022-29162), and to the ambient set
	// where the container has inheritable ones already.
	Capabilities []string
	// NoNewPrivileges replaces the container's.
	NoNewPrivileges *bool
	// Terminal is whether it gets one, whatever the container's has.
	Terminal bool
}

// in returns the process for the container of k and, of a file, its content.
func (e *ExecProcess) in(k *plan.ForExec) (*specs.Process, []byte, error) {
	if e.File != "" {
		return spec.LoadProcess(e.File)
	}
	if len(e.Args) == 0 {
		return nil, nil, errors.New("exec args cannot be empty")
	}
	p := k.Process
	p.Args = e.Args
	p.Terminal = e.Terminal
	if e.Cwd != "" {
		p.Cwd = e.Cwd
	}
	if e.AppArmorProfile != "" {
		p.ApparmorProfile = e.AppArmorProfile
	}
	if e.SELinuxLabel != "" {
		p.SelinuxLabel = e.SELinuxLabel
	}
	p.Env = append(p.Env, e.Env...)
	p.User.AdditionalGids = append(p.User.AdditionalGids, e.AdditionalGIDs...)
	if e.UID != nil {
		p.User.UID = *e.UID
	}
	if e.GID != nil {
		p.User.GID = *e.GID
	}
	if e.NoNewPrivileges != nil {
		p.NoNewPrivileges = *e.NoNewPrivileges
	}
	p.Capabilities = e.capabilities(p.Capabilities)
	return &p, nil, nil
}

// capabilities returns the container's with those that are added.
func (e *ExecProcess) capabilities(own *specs.LinuxCapabilities) *specs.LinuxCapabilities {
	if len(e.Capabilities) == 0 {
		return own
	}
	var c specs.LinuxCapabilities
	if own != nil {
		c = *own
	}
	c.Bounding = append(c.Bounding, e.Capabilities...)
	c.Permitted = append(c.Permitted, e.Capabilities...)
	c.Effective = append(c.Effective, e.Capabilities...)
	if len(c.Inheritable) > 0 {
		c.Ambient = append(c.Ambient, e.Capabilities...)
	}
	return &c
}

// tellIgnored warns of what does not count beside File; strict makes an error
// of it.
func (e *ExecProcess) tellIgnored(strict bool, log *slog.Logger) error {
	if len(e.Ignored) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s: ignored: the process is what %s describes", strings.Join(e.Ignored, ", "), e.File)
	if strict {
		return errors.New(text)
	}
	log.Warn(text)
	return nil
}
