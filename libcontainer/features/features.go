// Package features tells what gourd can do, in the features structure of
// runtime-spec v1.3.0 (features.md, features-linux.md).
//
// It tells what this build recognizes and carries out, whether or not the host
// offers it too; only seccomp's supportedFlags ask the kernel. The lists come
// from the packages that do the work, and a test holds each yes and no against
// what their Compile accepts and refuses, so that the document can only say what
// is true. A part that gourd does not do is told as such, and not left out:
// absent means unknown.
package features

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/seccomp"
)

// The annotations that tell which gourd this is.
const (
	AnnotationVersion = "org.gourd-oci.gourd.version"
	AnnotationCommit  = "org.gourd-oci.gourd.commit"
	// AnnotationCheckpoint tells that checkpoint and restore are built.
	AnnotationCheckpoint = "org.gourd-oci.gourd.checkpoint.enabled"
)

// Supported returns the features of this build. version and commit are put into
// its annotations; an empty commit is left out.
func Supported(version, commit string) *features.Features {
	f := &features.Features{
		OCIVersionMin: "1.0.0", // every 1.x.y is read, see spec.Check
		OCIVersionMax: specs.Version,
		Hooks:         hookNames(),
		MountOptions:  rootfs.MountOptions(),
		Linux:         linux(),
		Annotations:   map[string]string{AnnotationVersion: version, AnnotationCheckpoint: "true"},

		PotentiallyUnsafeConfigAnnotations: unsafeAnnotations(),
	}
	if commit != "" {
		f.Annotations[AnnotationCommit] = commit
	}
	return f
}

// unsafeAnnotations returns the annotations in a config.json, or their prefixes,
// that change what gourd does, to the host or to the container.
func unsafeAnnotations() []string {
	return []string{"org.criu.config", "org.systemd.property.", "run.gourd."}
}

func linux() *features.Linux {
	return &features.Linux{
		Namespaces:   namespaces(),
		Capabilities: credentials.CapabilityNames(),
		Cgroup: &features.Cgroup{
			V1:          no(),
			V2:          yes(),
			Systemd:     yes(),
			SystemdUser: yes(),
			Rdma:        yes(),
		},
		Seccomp: &features.Seccomp{
			Enabled:        yes(),
			Actions:        seccomp.KnownActions(),
			Operators:      seccomp.KnownOperators(),
			Archs:          seccomp.KnownArchs(),
			KnownFlags:     seccomp.KnownFlags(),
			SupportedFlags: supportedFlags(seccomp.KnownFlags()),
		},
		Apparmor:        &features.Apparmor{Enabled: yes()},
		Selinux:         &features.Selinux{Enabled: yes()},
		IntelRdt:        &features.IntelRdt{Enabled: yes(), Schemata: yes(), Monitoring: yes()},
		MemoryPolicy:    &features.MemoryPolicy{Modes: credentials.MemoryPolicyModes(), Flags: credentials.MemoryPolicyFlags()},
		MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: yes()}},
		NetDevices:      &features.NetDevices{Enabled: yes()},
	}
}

func yes() *bool { return new(true) }

func no() *bool { return new(false) }

// hookNames returns the phases of the spec; hooks.Plan has a list for each.
func hookNames() []string {
	return []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
}

// namespaces returns the types that nsenter makes and joins.
func namespaces() []string {
	return []string{
		string(specs.CgroupNamespace), string(specs.IPCNamespace), string(specs.MountNamespace), string(specs.NetworkNamespace),
		string(specs.PIDNamespace), string(specs.TimeNamespace), string(specs.UserNamespace), string(specs.UTSNamespace),
	}
}
