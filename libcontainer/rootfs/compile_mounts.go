package rootfs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// maxData is how many bytes of parameters mount(2) takes: a page, and its NUL.
const maxData = 4095

// compileMount turns mounts[i] into a Mount.
func compileMount(i int, s *specs.Mount, e *Env, p *Plan, d *defect.List) Mount {
	m := Mount{
		Where:       index("mounts", i),
		Type:        s.Type,
		Source:      s.Source,
		Destination: destination(s.Destination, e.Rootfs),
	}
	before := len(*d)
	checkStrings(&m, s, d)
	o := compileOptions(&m, s.Options, d)
	m.IDMap = compileIDMap(&m, s, &o, e, d)
	switch {
	case o.remount:
		compileRemount(&m, &o)
	case o.bind || s.Type == "bind" || s.Type == "rbind":
		compileBind(&m, &o, e, p, d)
	case s.Type == "":
		d.Add(m.Where+".type", "missing, and options has neither bind nor rbind")
	default:
		compileFilesystem(&m, &o, e, p, d)
	}
	m.Set, m.Clear = o.attrs.bits()
	m.RecSet, m.RecClear = o.rec.bits()
	if m.Kind == Bind {
		m.Unnamed = unnamed(m.Set, m.Clear)
		foreign := e.Unprivileged || e.NewUserNS || !e.HostUserNS // container root is not the host's
		if m.Recursive && m.Destination == "/sys" && foreign && m.Set&unix.MOUNT_ATTR_RDONLY != 0 {
			// What a rootless config has for want of a sysfs of its own, be it
			// that gourd is an ordinary user or root of a user namespace. Below
			// it are the cgroups of all that the user runs, which only a
			// recursive read-only keeps the container from (CVE-2023-25809).
			m.RecSet |= unix.MOUNT_ATTR_RDONLY
		}
	}
	if m.Kind == Filesystem {
		foldRecursive(&m)
		if m.Set&unix.MOUNT_ATTR_RDONLY != 0 && (m.Type == "tmpfs" || m.Destination == "/dev") {
			m.Set &^= unix.MOUNT_ATTR_RDONLY
			m.LateReadonly = true
		}
	}
	if len(*d) == before {
		checkDestination(&m, d)
	}
	return m
}

// optionSet is what the options of one mount say.
type optionSet struct {
	attrs, rec       attrs
	super, notSuper  uint64
	legacy           uint64
	readonly, notRO  bool
	bind, recursive  bool
	remount, copyUp  bool
	idmap            string // this option, or ridmap
	copyUpAt, dataAt int    // indexes of these options, for defects
	idmapAt          int
	data             string // the option at dataAt
	params           []Param
}

func compileOptions(m *Mount, names []string, d *defect.List) optionSet {
	o := optionSet{dataAt: -1}
	for i, name := range names {
		if name == "" { // buildah has one, for a volume without options
			continue
		}
		opt, ok := findOption(name)
		if !ok {
			if strings.IndexByte(name, 0) >= 0 {
				d.Add(index(m.Where+".options", i), "%q holds a NUL byte", name)
			}
			if o.dataAt < 0 {
				o.dataAt, o.data = i, name
			}
			o.params = appendParams(o.params, m.Type, name)
			continue
		}
		switch opt.what {
		case optNothing:
		case optAttr:
			o.attrs.bit(opt)
		case optReadonly:
			o.attrs.bit(opt)
			o.readonly, o.notRO = !opt.clear, opt.clear
		case optRecAttr:
			o.rec.bit(opt)
		case optAtime:
			o.attrs.time(opt.bits)
		case optRecAtime:
			o.rec.time(opt.bits)
		case optSuper:
			o.super, o.notSuper = flip(o.super, o.notSuper, opt)
		case optLegacy:
			o.legacy, _ = flip(o.legacy, 0, opt)
		case optPropagation:
			m.Propagation = append(m.Propagation, opt.bits)
		case optBind:
			o.bind = true
			o.recursive = o.recursive || opt.bits == unix.MS_REC
		case optRemount:
			o.remount = true
		case optIDMap:
			if o.idmap != "ridmap" {
				o.idmap, o.idmapAt = name, i
			}
		case optCopyUp:
			o.copyUp, o.copyUpAt = true, i
		}
	}
	if o.copyUp && (m.Type != "tmpfs" || o.bind || o.remount) {
		d.Add(index(m.Where+".options", o.copyUpAt), "tmpcopyup is only for a mount of type tmpfs")
	}
	m.CopyUp = o.copyUp
	return o
}

func flip(set, clear uint64, o option) (uint64, uint64) {
	if o.clear {
		return set &^ o.bits, clear | o.bits
	}
	return set | o.bits, clear &^ o.bits
}

// compileBind: the flags of the source's mount are kept but for those that the
// options name. Flags of the filesystem, such as sync, have no effect on a
// bind mount, as with mount(8): the filesystem is mounted already, and not the
// container's to change.
func compileBind(m *Mount, o *optionSet, e *Env, p *Plan, d *defect.List) {
	m.Kind = Bind
	m.Recursive = o.recursive || (!o.bind && m.Type == "rbind")
	m.Type = ""
	if o.dataAt >= 0 {
		// The spec has it passed to mount(2), which ignores it here.
		p.Warnings = append(p.Warnings,
			fmt.Sprintf("%s: %q, an option of a filesystem, has no effect on a bind mount", index(m.Where+".options", o.dataAt), o.data))
	}
	if m.Source == "" {
		d.Add(m.Where+".source", "missing for a bind mount")
	} else if !filepath.IsAbs(m.Source) {
		m.Source = filepath.Join(e.Bundle, m.Source)
	}
}

func compileRemount(m *Mount, o *optionSet) {
	m.Kind = Remount
	m.Type, m.Source = "", ""
	if o.bind {
		return // of this mount only, not of its filesystem
	}
	if o.readonly {
		o.super |= unix.MS_RDONLY
	}
	if o.notRO {
		m.Params = append(m.Params, Param{Key: "rw", Flag: true})
	}
	for _, f := range [...]struct {
		flag uint64
		name string
	}{{unix.MS_SYNCHRONOUS, "async"}, {unix.MS_MANDLOCK, "nomand"}, {unix.MS_LAZYTIME, "nolazytime"}} {
		if o.notSuper&f.flag != 0 {
			m.Params = append(m.Params, Param{Key: f.name, Flag: true})
		}
	}
	m.Params = append(append(m.Params, superParams(o.super)...), o.params...)
}

func compileFilesystem(m *Mount, o *optionSet, e *Env, p *Plan, d *defect.List) {
	m.Kind = Filesystem
	switch m.Type {
	case "cgroup", "cgroup2":
		compileCgroup(m, o, e, p, d)
		if m.Kind == Bind {
			return
		}
	case "proc", "sysfs":
		m.NoSymlinks = true // CVE-2019-19921 and its kin
		if m.Type == "sysfs" && e.ForeignNetwork {
			m.Fallback = "/sys"
		}
	}
	if o.readonly && !sharedSuper(m.Type) && m.Destination != "/dev" {
		o.super |= unix.MS_RDONLY
	}
	m.Params = append(superParams(o.super), o.params...)
	for _, p := range o.params {
		m.OwnMode = m.OwnMode || p.Key == "mode"
	}
	m.LegacyFlags = o.legacy
	m.Legacy = o.legacy != 0 || len(m.Source) > linux.MaxParam
	for _, p := range m.Params {
		m.Legacy = m.Legacy || len(p.Key) > linux.MaxParam || len(p.Value) > linux.MaxParam
	}
	if m.Legacy && len(legacyData(m.Params)) > maxData {
		d.Add(m.Where+".options", "the filesystem-specific options are longer than the %d bytes that the kernel takes", maxData)
	}
}

// compileCgroup shows the container its own cgroup: as the root of cgroup2
// where it has a cgroup namespace, else by a bind mount of its directory. That is
// read-only where gourd is rootless: the cgroup is the user's, who is root inside
// and could lift the container's limits there (CVE-2023-25809).
func compileCgroup(m *Mount, o *optionSet, e *Env, p *Plan, d *defect.List) {
	m.Type = "cgroup2"
	if e.NewCgroupNS {
		m.Fallback = e.CgroupDir
		return
	}
	if e.CgroupDir == "" {
		d.Add(m.Where, "neither a cgroup namespace nor a cgroup2 directory of the container's own to mount")
		return
	}
	m.Kind, m.Type, m.Source, o.params = Bind, "", e.CgroupDir, nil
	if !e.Unprivileged && e.HostUserNS {
		return
	}
	if (o.attrs.clear|o.rec.clear)&unix.MOUNT_ATTR_RDONLY != 0 {
		p.Warnings = append(p.Warnings, m.Where+": mounted read-only, as a rootless container's cgroup is without a cgroup namespace")
	}
	o.attrs.set |= unix.MOUNT_ATTR_RDONLY
	o.attrs.clear &^= unix.MOUNT_ATTR_RDONLY
	o.rec.clear &^= unix.MOUNT_ATTR_RDONLY
}

// sharedSuper reports whether filesystems of the type are made by the kernel
// for a namespace and may be shared between mounts and containers, or are made
// anew for every mount: for these, read-only is a matter of the mount alone.
func sharedSuper(fstype string) bool {
	switch fstype {
	case "proc", "sysfs", "mqueue", "cgroup2", "devpts", "tmpfs":
		return true
	}
	return false
}

// foldRecursive puts the recursive attributes of a new filesystem, which has
// no mounts below it, with the others.
func foldRecursive(m *Mount) {
	m.Set = m.Set&^m.RecClear | m.RecSet
	m.Clear, m.RecSet, m.RecClear = 0, 0, 0
}

// checkDestination holds mounts away from the root and from within /proc,
// where a mount would let an image fake what the runtime writes to
// (CVE-2019-16884 and its kin).
func checkDestination(m *Mount, d *defect.List) {
	where := m.Where + ".destination"
	switch dest := m.Destination; {
	case dest == "/":
		d.Add(where, "the container's root cannot be mounted over (root.path chooses it)")
	case dest == "/proc":
		m.NoSymlinks = true
		m.ProcSource = m.Kind == Bind
		if m.Kind == Filesystem && m.Type != "proc" {
			d.Add(where, "only a procfs can be mounted on /proc, not %q", m.Type)
		}
	case strings.HasPrefix(dest, "/proc/"):
		if m.Kind != Remount && !mayCover(dest) {
			d.Add(where, "%q is inside /proc, where nothing but a few files can be mounted over", dest)
		}
	case dest == "/sys":
		m.NoSymlinks = true
		m.SysSource = m.Kind == Bind
		if m.Kind == Filesystem && m.Type != "sysfs" {
			d.Add(where, "only a sysfs can be mounted on /sys, not %q", m.Type)
		}
	}
}

// mayCover reports whether a file of /proc may be mounted over: those that
// lxcfs and its like emulate, which nobody takes a decision by.
func mayCover(dest string) bool {
	switch dest {
	case "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps",
		"/proc/uptime", "/proc/loadavg", "/proc/slabinfo",
		"/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled":
		return true
	}
	return false
}

func checkStrings(m *Mount, s *specs.Mount, d *defect.List) {
	if s.Destination == "" {
		d.Add(m.Where+".destination", "missing")
	}
	for _, f := range [...]struct{ name, value string }{
		{"destination", s.Destination}, {"source", s.Source}, {"type", s.Type},
	} {
		if strings.IndexByte(f.value, 0) >= 0 {
			d.Add(m.Where+"."+f.name, "%q holds a NUL byte", f.value)
		}
	}
}

// appendParams splits an option as the kernel splits mount(2)'s data: at
// commas, but not within double quotes (SELinux contexts) nor, for overlay,
// behind a backslash.
func appendParams(out []Param, fstype, option string) []Param {
	start, quoted := 0, false
	for i := 0; i <= len(option); i++ {
		switch {
		case i == len(option):
		case option[i] == '"':
			quoted = !quoted
			continue
		case option[i] == '\\' && fstype == "overlay":
			i++
			if i < len(option) {
				continue
			}
		case option[i] != ',' || quoted:
			continue
		}
		if part := option[start:min(i, len(option))]; part != "" {
			out = append(out, param(part))
		}
		start = i + 1
	}
	return out
}

func param(s string) Param {
	key, value, found := strings.Cut(s, "=")
	switch key {
	case "context", "fscontext", "defcontext", "rootcontext":
		value = strings.Trim(value, `"`)
	}
	return Param{Key: key, Value: value, Flag: !found}
}

// legacyData joins parameters into the data of mount(2); the flags of the
// filesystem among them go another way.
func legacyData(params []Param) string {
	var parts []string
	for _, p := range params {
		if p.Flag && superFlag(p.Key) != 0 {
			continue
		}
		if strings.Contains(p.Value, ",") && strings.HasSuffix(p.Key, "context") {
			p.Value = `"` + p.Value + `"`
		}
		parts = append(parts, p.String())
	}
	return strings.Join(parts, ",")
}

// index returns "where[i]".
func index(where string, i int) string { return where + "[" + strconv.Itoa(i) + "]" }

// destination returns a mount's destination as a clean path in the container.
// One that begins with the host's path of the rootfs is taken as meant from
// there: engines have written such configs for runc, which strips it too.
func destination(path, rootfs string) string {
	path = filepath.Clean("/" + path)
	if rest, ok := strings.CutPrefix(path, rootfs); ok && rootfs != "" && (rest == "" || rest[0] == '/') {
		return filepath.Clean("/" + rest)
	}
	return path
}

// unnamed returns the attributes that a bind mount loses because its options
// name others and not them. It is what engines and users of runc since 1.2
// count on, and unlike mount(8): without any such option a bind keeps the
// flags of its source, with one it has exactly those named. How access times
// are kept is left alone unless an option is about them, as by MS_REMOUNT.
func unnamed(set, clear uint64) uint64 {
	const flags = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSYMFOLLOW
	const atime = unix.MOUNT_ATTR__ATIME | unix.MOUNT_ATTR_NODIRATIME
	switch named := set | clear; {
	case named == 0:
		return 0
	case named&atime != 0:
		return (flags | unix.MOUNT_ATTR_NODIRATIME) &^ named
	default:
		return flags &^ named
	}
}
