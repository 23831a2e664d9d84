package prepare

import (
	"fmt"
	"os"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// seccomp gives the config a profile: "default" is docker's, for the
// capabilities that the container has; "unconfined" is none; else a file in
// docker's form or the runtime-spec's.
func (p *Preparer) seccomp(s *specs.Spec, profile string) error {
	var err error
	switch profile {
	case "unconfined":
		return nil
	case "", "default":
		s.Linux.Seccomp, err = seccomp.GetDefaultProfile(s)
	default:
		var data []byte
		if data, err = os.ReadFile(profile); err == nil {
			s.Linux.Seccomp, err = seccomp.LoadProfile(string(data), s)
		}
	}
	if err != nil {
		return fmt.Errorf("seccomp profile %q: %w", profile, err)
	}
	return nil
}
