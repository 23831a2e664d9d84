package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/prepare"
	"github.com/gourd-oci/gourd/prepare/config"
	"github.com/gourd-oci/gourd/prepare/store"
)

func createVerb() *verb {
	o := &createFlags{}
	return &verb{
		name:     "create",
		summary:  "Make a bundle of an image, mount it, and print its directory",
		operands: "IMAGE NAME [COMMAND…]",
		more: "\"gourd prepare IMAGE NAME\" is the same. A COMMAND replaces the image's; put -- before one that\n" +
			"has flags. The bundle unmounts itself when its container is deleted.",
		example: "gourd run -b \"$(gourd prepare oci:./img:latest web)\" web\n" +
			"gourd prepare create --memory 256m -e MODE=test -v /srv/data:/data:ro img:latest web -- /bin/server -v",
		min: 2, max: -1,
		flags: o.define,
		run: func(c *call) error {
			co, err := o.options(c)
			if err != nil {
				return err
			}
			co.Names = append([]string{c.args[1]}, co.Names...)
			co.Config.Command = c.args[2:]
			ctr, err := c.p.Create(c.ctx, c.args[0], co)
			if err != nil {
				return err
			}
			return c.print(containerView(c.p.Store, ctr), func(w io.Writer) { fmt.Fprintln(w, c.p.Store.Bundle(ctr.ID)) })
		},
	}
}

// createFlags are the flags of create and run.
type createFlags struct {
	importFlags
	env, unset, volumes, mounts, capAdd, capDrop, labels, annotations list
	hosts, dns, hooksDirs, names, uidMap, gidMap                      list
	entrypoint, user, cwd, hostname, memory, network, seccomp         string
	ids, overlay                                                      string
	shm, ip, patch, mountLabel, processLabel                          string
	cpus                                                              float64
	pids                                                              int64
	entrypointSet, tty, readOnly, noNewPrivileges, ephemeral, noFiles bool
}

func (o *createFlags) define(fs *flag.FlagSet) {
	o.importFlags.define(fs)
	both := func(v flag.Value, short, long, usage string) {
		fs.Var(v, short, usage)
		fs.Var(v, long, usage)
	}
	both(&o.env, "e", "env", "set a variable: `NAME=VALUE`, or NAME to pass it on")
	fs.Var(&o.unset, "unset-env", "take the variable `NAME` away")
	both(&o.volumes, "v", "volume", "bind a directory: `SOURCE:DESTINATION[:OPTIONS]`")
	fs.Var(&o.mounts, "mount", "mount type=bind,src=…,dst=… or type=tmpfs,dst=…: `FIELDS`")
	fs.Var(&o.capAdd, "cap-add", "add `CAPABILITY`, or ALL")
	fs.Var(&o.capDrop, "cap-drop", "take away `CAPABILITY`, or ALL")
	both(&o.labels, "l", "label", "keep `KEY=VALUE` with the container")
	fs.Var(&o.annotations, "annotation", "put `KEY=VALUE` into the config")
	fs.Var(&o.hosts, "add-host", "add `NAME:ADDRESS` to its /etc/hosts")
	fs.Var(&o.dns, "dns", "use the name server `ADDRESS` instead of the host's")
	fs.Var(&o.hooksDirs, "hooks-dir", "apply the hooks of `DIR` (hooks.d 1.0.0), \"\": none (default, but for ordinary users: /usr/share/containers/oci/hooks.d, /etc/containers/oci/hooks.d)")
	fs.Var(&o.names, "name", "a further `NAME` of the container")
	fs.Var(&o.uidMap, "uid-map", "map user ids `CONTAINER:HOST:SIZE` in a user namespace")
	fs.Var(&o.gidMap, "gid-map", "map group ids `CONTAINER:HOST:SIZE`")
	fs.Func("entrypoint", "run `COMMAND` in place of the image's entrypoint: words, or a JSON list", func(s string) error {
		o.entrypoint, o.entrypointSet = s, true
		return nil
	})
	fs.StringVar(&o.user, "u", "", "run as `USER[:GROUP]`, by name or id")
	fs.StringVar(&o.user, "user", "", "run as `USER[:GROUP]`, by name or id")
	fs.StringVar(&o.cwd, "w", "", "run in the directory `DIR`")
	fs.StringVar(&o.cwd, "workdir", "", "run in the directory `DIR`")
	fs.StringVar(&o.hostname, "hostname", "", "call the machine `NAME` (default: the container's name)")
	fs.StringVar(&o.memory, "m", "", "limit the memory to `SIZE`")
	fs.StringVar(&o.memory, "memory", "", "limit the memory to `SIZE`")
	fs.Float64Var(&o.cpus, "cpus", 0, "limit the processor time to that of `N` processors")
	fs.Int64Var(&o.pids, "pids-limit", 0, "limit the number of processes to `N`")
	fs.StringVar(&o.network, "network", "", "use the network `NET`: none (only loopback), host, or the path of a namespace")
	fs.StringVar(&o.seccomp, "seccomp", "", "use the seccomp profile `FILE`; default, or unconfined")
	fs.StringVar(&o.shm, "shm-size", "", "give /dev/shm `SIZE` (default: 64m)")
	fs.StringVar(&o.ip, "ip-from", "", "lease an address of the subnet `CIDR`")
	fs.StringVar(&o.ids, "ids", "", "give layers the ids of the user namespace `HOW`: mapped, or copied (default: mapped where that works)")
	fs.StringVar(&o.overlay, "overlay", "", "stack layers by `HOW`: kernel, or fuse-overlayfs (default: the kernel where that may be)")
	fs.StringVar(&o.patch, "config-patch", "", "apply the JSON merge patch in `FILE` to the config")
	fs.StringVar(&o.mountLabel, "mount-label", "", "SELinux `LABEL` of the root filesystem")
	fs.StringVar(&o.processLabel, "process-label", "", "SELinux `LABEL` of the process")
	fs.BoolVar(&o.tty, "t", false, "give it a terminal")
	fs.BoolVar(&o.tty, "tty", false, "give it a terminal")
	fs.BoolVar(&o.readOnly, "read-only", false, "make its root filesystem read-only")
	fs.BoolVar(&o.noNewPrivileges, "no-new-privileges", false, "set-user-ID programs gain nothing")
	fs.BoolVar(&o.ephemeral, "ephemeral", false, "empty the writable layer at every mount and unmount")
	fs.BoolVar(&o.noFiles, "no-files", false, "leave the image's /etc/hosts, /etc/hostname and /etc/resolv.conf")
}

// options reads the flags. It has no effects but reading files.
func (o *createFlags) options(c *call) (prepare.CreateOptions, error) {
	var co prepare.CreateOptions
	var err error
	fail := func(err error) (prepare.CreateOptions, error) { return co, &usageError{c.verb, err} }
	if co.ImportOptions, err = o.importFlags.options(c); err != nil {
		return co, err
	}
	r := &co.Config
	if r.Env, err = variables(o.env); err != nil {
		return fail(err)
	}
	r.Unset, r.User, r.Cwd, r.Hostname = o.unset, o.user, o.cwd, o.hostname
	r.Terminal, r.ReadOnly, r.NoNewPrivileges = o.tty, o.readOnly, o.noNewPrivileges
	r.CPUs, r.Pids, r.Network = o.cpus, o.pids, o.network
	r.CapAdd, r.CapDrop = o.capAdd, o.capDrop
	r.MountLabel, r.ProcessLabel = o.mountLabel, o.processLabel
	r.Rootless = c.p.Rootless
	if o.cpus < 0 || o.pids < -1 {
		return fail(errors.New("--cpus and --pids-limit must not be negative"))
	}
	if o.entrypointSet {
		e := strings.Fields(o.entrypoint)
		if strings.HasPrefix(o.entrypoint, "[") {
			e = nil
			if err := json.Unmarshal([]byte(o.entrypoint), &e); err != nil {
				return fail(fmt.Errorf("--entrypoint %q: %w", o.entrypoint, err))
			}
		}
		r.Entrypoint = &e
	}
	if o.memory != "" {
		if r.Memory, err = config.ParseSize(o.memory); err != nil {
			return fail(fmt.Errorf("--memory: %w", err))
		}
	}
	if o.shm != "" {
		if co.ShmSize, err = config.ParseSize(o.shm); err != nil {
			return fail(fmt.Errorf("--shm-size: %w", err))
		}
	}
	for _, v := range o.volumes {
		m, err := config.ParseVolume(v)
		if err != nil {
			return fail(err)
		}
		r.Mounts = append(r.Mounts, m)
	}
	for _, v := range o.mounts {
		m, err := config.ParseMount(v)
		if err != nil {
			return fail(err)
		}
		r.Mounts = append(r.Mounts, m)
	}
	if r.Annotations, err = pairs("--annotation", o.annotations); err != nil {
		return fail(err)
	}
	if co.Labels, err = pairs("--label", o.labels); err != nil {
		return fail(err)
	}
	if r.UIDMappings, err = idMaps("--uid-map", o.uidMap); err != nil {
		return fail(err)
	}
	if r.GIDMappings, err = idMaps("--gid-map", o.gidMap); err != nil {
		return fail(err)
	}
	if (len(r.UIDMappings) == 0) != (len(r.GIDMappings) == 0) {
		return fail(errors.New("--uid-map and --gid-map go together"))
	}
	for _, h := range o.hosts {
		name, addr, ok := strings.Cut(h, ":")
		if _, err := netip.ParseAddr(addr); !ok || err != nil || name == "" || strings.ContainsAny(name, " \t\n") {
			return fail(fmt.Errorf("--add-host %q: it is NAME:ADDRESS", h))
		}
		co.Hosts = append(co.Hosts, addr+"\t"+name)
	}
	for _, d := range o.dns {
		if _, err := netip.ParseAddr(d); err != nil {
			return fail(fmt.Errorf("--dns: %w", err))
		}
	}
	if o.ip != "" {
		if co.IPFrom, err = netip.ParsePrefix(o.ip); err != nil {
			return fail(fmt.Errorf("--ip-from: %w", err))
		}
	}
	if o.patch != "" {
		if co.Patch, err = os.ReadFile(o.patch); err != nil {
			return co, fmt.Errorf("--config-patch: %w", err)
		}
	}
	switch o.ids {
	case "", prepare.IDsMapped, prepare.IDsCopied:
	default:
		return fail(fmt.Errorf("--ids %q is neither mapped nor copied", o.ids))
	}
	switch o.overlay {
	case "", prepare.OverlayKernel, prepare.OverlayFuse:
	default:
		return fail(fmt.Errorf("--overlay %q is neither kernel nor fuse-overlayfs", o.overlay))
	}
	co.IDs, co.Overlay = o.ids, o.overlay
	co.Names, co.DNS, co.HooksDirs, co.Seccomp = o.names, o.dns, o.hooksDirs, o.seccomp
	co.Ephemeral, co.NoFiles = o.ephemeral, o.noFiles
	return co, nil
}

// variables completes NAME by this process's value.
func variables(in []string) ([]string, error) {
	var out []string
	for _, kv := range in {
		name, _, ok := strings.Cut(kv, "=")
		if name == "" {
			return nil, fmt.Errorf("--env %q: the name is empty", kv)
		}
		if !ok {
			v, set := os.LookupEnv(name)
			if !set {
				continue // as docker: what is not set is not passed on
			}
			kv = name + "=" + v
		}
		out = append(out, kv)
	}
	return out, nil
}

func pairs(what string, in []string) (map[string]string, error) {
	var out map[string]string
	for _, kv := range in {
		k, v, _ := strings.Cut(kv, "=")
		if k == "" {
			return nil, fmt.Errorf("%s %q: the key is empty", what, kv)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out, nil
}

func idMaps(what string, in []string) ([]specs.LinuxIDMapping, error) {
	var out []specs.LinuxIDMapping
	for _, m := range in {
		parts := strings.Split(m, ":")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s %q: it is CONTAINER:HOST:SIZE", what, m)
		}
		var n [3]uint32
		for i, s := range parts {
			v, err := strconv.ParseUint(s, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", what, m, err)
			}
			n[i] = uint32(v)
		}
		out = append(out, specs.LinuxIDMapping{ContainerID: n[0], HostID: n[1], Size: n[2]})
	}
	return out, nil
}

// view is a container as it is printed.
type view struct {
	store.Container
	Bundle string `json:"bundle"`
	Dir    string `json:"directory"`
	Run    string `json:"run-directory"`
	Mounts int    `json:"mounts"`
}

func containerView(s *store.Store, c *store.Container) view {
	m, _ := s.ReadMounts(c.ID) // a count that cannot be read counts as none
	return view{*c, s.Bundle(c.ID), s.ContainerDir(c.ID), s.RunDir(c.ID), m.Total()}
}
