package rootfs

import (
	"sort"

	"golang.org/x/sys/unix"
)

// optionKind says what a mount option is about.
type optionKind uint8

const (
	optNothing     optionKind = iota // defaults: accepted, without effect
	optAttr                          // a MOUNT_ATTR_ bit
	optRecAttr                       // the same, for the mounts below too
	optAtime                         // one of the access time choices
	optRecAtime                      // the same, for the mounts below too
	optSuper                         // a flag of the filesystem (superblock)
	optReadonly                      // ro and rw: of the mount, and of the filesystem
	optLegacy                        // a flag that only mount(2) has
	optPropagation                   // a propagation type
	optBind                          // bind, rbind
	optRemount                       // remount
	optIDMap                         // idmap, ridmap
	optCopyUp                        // tmpcopyup
)

// option is one row of the table.
type option struct {
	name  string
	what  optionKind
	clear bool   // the option takes the bit away
	bits  uint64 // MOUNT_ATTR_ or MS_ bits, or an atimeWord
}

// The words about access times. The choices exclude each other, so that a
// later word replaces an earlier one; the negative words only take back.
const (
	atimeNever       uint64 = iota // noatime
	atimeRelative                  // relatime
	atimeAlways                    // strictatime
	atimeNotNever                  // atime: what the kernel does by default
	atimeNotAlways                 // nostrictatime: likewise
	atimeNotRelative               // norelatime: no choice is left
)

// options is the table "Linux mount options" of runtime-spec 1.3.0's
// config.md, sorted by name. A name that is not in it is a parameter of the
// filesystem.
var options = [...]option{
	{"async", optSuper, true, unix.MS_SYNCHRONOUS},
	{"atime", optAtime, false, atimeNotNever},
	{"bind", optBind, false, 0},
	{"defaults", optNothing, false, 0},
	{"dev", optAttr, true, unix.MOUNT_ATTR_NODEV},
	{"diratime", optAttr, true, unix.MOUNT_ATTR_NODIRATIME},
	{"dirsync", optSuper, false, unix.MS_DIRSYNC},
	{"exec", optAttr, true, unix.MOUNT_ATTR_NOEXEC},
	{"idmap", optIDMap, false, 0},
	{"iversion", optLegacy, false, unix.MS_I_VERSION},
	{"lazytime", optSuper, false, unix.MS_LAZYTIME},
	{"loud", optLegacy, true, unix.MS_SILENT},
	{"mand", optSuper, false, unix.MS_MANDLOCK},
	{"noatime", optAtime, false, atimeNever},
	{"nodev", optAttr, false, unix.MOUNT_ATTR_NODEV},
	{"nodiratime", optAttr, false, unix.MOUNT_ATTR_NODIRATIME},
	{"noexec", optAttr, false, unix.MOUNT_ATTR_NOEXEC},
	{"noiversion", optLegacy, true, unix.MS_I_VERSION},
	{"nolazytime", optSuper, true, unix.MS_LAZYTIME},
	{"nomand", optSuper, true, unix.MS_MANDLOCK},
	{"norelatime", optAtime, false, atimeNotRelative},
	{"nostrictatime", optAtime, false, atimeNotAlways},
	{"nosuid", optAttr, false, unix.MOUNT_ATTR_NOSUID},
	{"nosymfollow", optAttr, false, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"private", optPropagation, false, unix.MS_PRIVATE},
	{"ratime", optRecAtime, false, atimeNotNever},
	{"rbind", optBind, false, unix.MS_REC},
	{"rdev", optRecAttr, true, unix.MOUNT_ATTR_NODEV},
	{"rdiratime", optRecAttr, true, unix.MOUNT_ATTR_NODIRATIME},
	{"relatime", optAtime, false, atimeRelative},
	{"remount", optRemount, false, 0},
	{"rexec", optRecAttr, true, unix.MOUNT_ATTR_NOEXEC},
	{"ridmap", optIDMap, false, unix.MS_REC},
	{"rnoatime", optRecAtime, false, atimeNever},
	{"rnodev", optRecAttr, false, unix.MOUNT_ATTR_NODEV},
	{"rnodiratime", optRecAttr, false, unix.MOUNT_ATTR_NODIRATIME},
	{"rnoexec", optRecAttr, false, unix.MOUNT_ATTR_NOEXEC},
	{"rnorelatime", optRecAtime, false, atimeNotRelative},
	{"rnostrictatime", optRecAtime, false, atimeNotAlways},
	{"rnosuid", optRecAttr, false, unix.MOUNT_ATTR_NOSUID},
	{"rnosymfollow", optRecAttr, false, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"ro", optReadonly, false, unix.MOUNT_ATTR_RDONLY},
	{"rprivate", optPropagation, false, unix.MS_PRIVATE | unix.MS_REC},
	{"rrelatime", optRecAtime, false, atimeRelative},
	{"rro", optRecAttr, false, unix.MOUNT_ATTR_RDONLY},
	{"rrw", optRecAttr, true, unix.MOUNT_ATTR_RDONLY},
	{"rshared", optPropagation, false, unix.MS_SHARED | unix.MS_REC},
	{"rslave", optPropagation, false, unix.MS_SLAVE | unix.MS_REC},
	{"rstrictatime", optRecAtime, false, atimeAlways},
	{"rsuid", optRecAttr, true, unix.MOUNT_ATTR_NOSUID},
	{"rsymfollow", optRecAttr, true, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"runbindable", optPropagation, false, unix.MS_UNBINDABLE | unix.MS_REC},
	{"rw", optReadonly, true, unix.MOUNT_ATTR_RDONLY},
	{"shared", optPropagation, false, unix.MS_SHARED},
	{"silent", optLegacy, false, unix.MS_SILENT},
	{"slave", optPropagation, false, unix.MS_SLAVE},
	{"strictatime", optAtime, false, atimeAlways},
	{"suid", optAttr, true, unix.MOUNT_ATTR_NOSUID},
	{"symfollow", optAttr, true, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"sync", optSuper, false, unix.MS_SYNCHRONOUS},
	{"tmpcopyup", optCopyUp, false, 0},
	{"unbindable", optPropagation, false, unix.MS_UNBINDABLE},
}

func findOption(name string) (option, bool) {
	i := sort.Search(len(options), func(i int) bool { return options[i].name >= name })
	if i < len(options) && options[i].name == name {
		return options[i], true
	}
	return option{}, false
}

// MountOptions returns the names of the mount options that gourd carries out,
// sorted, for `gourd features`.
func MountOptions() []string {
	names := make([]string, 0, len(options))
	for i := range options {
		names = append(names, options[i].name)
	}
	return names
}

// attrs gathers options into what mount_setattr(2) takes.
type attrs struct {
	set, clear uint64
	atime      uint64 // an atime choice
	chosen     bool   // atime is one
}

func (a *attrs) bit(o option) {
	if o.clear {
		a.set &^= o.bits
		a.clear |= o.bits
	} else {
		a.set |= o.bits
		a.clear &^= o.bits
	}
}

func (a *attrs) time(word uint64) {
	switch word {
	case atimeNever, atimeRelative, atimeAlways:
		a.atime, a.chosen = word, true
	case atimeNotNever:
		// Not to use noatime means the kernel's default, which is relatime.
		if !a.chosen || a.atime == atimeNever {
			a.atime, a.chosen = atimeRelative, true
		}
	case atimeNotAlways:
		if !a.chosen || a.atime == atimeAlways {
			a.atime, a.chosen = atimeRelative, true
		}
	case atimeNotRelative:
		if a.atime == atimeRelative {
			a.chosen = false
		}
	}
}

// bits returns the bits to set and to clear. The access time is a field of
// several bits, which the kernel changes only when all of them are cleared.
func (a *attrs) bits() (set, clear uint64) {
	set, clear = a.set, a.clear
	if a.chosen {
		clear |= unix.MOUNT_ATTR__ATIME
		switch a.atime {
		case atimeNever:
			set |= unix.MOUNT_ATTR_NOATIME
		case atimeAlways:
			set |= unix.MOUNT_ATTR_STRICTATIME
		}
	}
	return set, clear
}

// superParams returns the fsconfig(2) flags that stand for MS_ flags of a
// filesystem (fs/fs_context.c, common_set_sb_flag).
func superParams(flags uint64) []Param {
	var out []Param
	for _, f := range [...]struct {
		flag uint64
		name string
	}{
		{unix.MS_RDONLY, "ro"},
		{unix.MS_SYNCHRONOUS, "sync"},
		{unix.MS_DIRSYNC, "dirsync"},
		{unix.MS_MANDLOCK, "mand"},
		{unix.MS_LAZYTIME, "lazytime"},
	} {
		if flags&f.flag != 0 {
			out = append(out, Param{Key: f.name, Flag: true})
		}
	}
	return out
}

// superFlag returns the MS_ flag that the fsconfig(2) flag name stands for, or
// 0 when it is none.
func superFlag(name string) uint64 {
	switch name {
	case "ro":
		return unix.MS_RDONLY
	case "sync":
		return unix.MS_SYNCHRONOUS
	case "dirsync":
		return unix.MS_DIRSYNC
	case "mand":
		return unix.MS_MANDLOCK
	case "lazytime":
		return unix.MS_LAZYTIME
	}
	return 0
}

// mountFlags turns MOUNT_ATTR_ bits of a new mount into MS_ flags.
func mountFlags(attr uint64) uint64 {
	var out uint64
	for _, f := range [...]struct{ attr, flag uint64 }{
		{unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY},
		{unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
		{unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
		{unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
		{unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME},
		{unix.MOUNT_ATTR_STRICTATIME, unix.MS_STRICTATIME},
		{unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
		{unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MS_NOSYMFOLLOW},
	} {
		if attr&f.attr != 0 {
			out |= f.flag
		}
	}
	return out
}
