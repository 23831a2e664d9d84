package integration

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// way_test.go: the scripts in another way than as root with the host's ids (see
// world.Way). The bundles are given a user namespace then.

// ways is what a script's driver knows of its way.
type ways struct {
	way        world.Way
	uids, gids []world.IDMap // of the containers; nil for the host's
	rootfs     []string      // those whose files are to be the containers' (see settleIDs)
}

func newWays() (w ways, err error) {
	if w.way, err = world.TheWay(); err != nil {
		return w, err
	}
	w.uids, w.gids, err = w.way.Maps()
	return w, err
}

// addUserns gives the bundle in dir a user namespace with the way's maps, unless
// the script has given it one, or maps, itself.
func addUserns(ts *testscript.TestScript, dir string) {
	w := driverOf(ts).ways
	if w.uids == nil {
		return
	}
	var config struct {
		Linux struct {
			Namespaces  []struct{ Type string }
			UIDMappings []world.IDMap
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	ts.Check(err)
	ts.Check(json.Unmarshal(data, &config))
	for _, n := range config.Linux.Namespaces {
		if n.Type == "user" {
			return
		}
	}
	if config.Linux.UIDMappings == nil {
		giveUserns(ts, dir)
	}
}

// giveUserns gives the bundle in dir a user namespace, and its files to the ids
// of that.
func giveUserns(ts *testscript.TestScript, dir string) {
	edit(ts, dir, []string{"mapped"})
	if w := &driverOf(ts).ways; w.way != world.Rootless {
		w.rootfs = append(w.rootfs, filepath.Join(dir, "rootfs"))
		settleIDs(ts)
	}
}

// cmdMapped is "mapped DIR": the bundle has a user namespace in every way.
func cmdMapped(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mapped DIR")
	}
	if driverOf(ts).ways.way == world.AsRoot { // else it has one already
		giveUserns(ts, ts.MkAbs(args[0]))
	}
}

// define returns the words for jq that depend on the way: mapped is what
// addUserns does; hostpid leaves the host's pid namespace, whose procfs a user
// namespace cannot mount, but bind; ownsrc binds, instead of $WORK/src and what is
// mounted on its sub, the like that the container itself mounts first.
func (w ways) define() (string, error) {
	hostpid := `nons("pid")`
	if w.uids == nil {
		w.uids, w.gids = world.UsernsMap, world.UsernsMap
	} else {
		hostpid += ` | nomnt("/proc") | .mounts |= [{destination: "/proc", type: "bind", source: "/proc", options: ["rbind"]}] + .`
	}
	uids, err := json.Marshal(w.uids)
	if err != nil {
		return "", err
	}
	gids, err := json.Marshal(w.gids)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`
def mapped: newns("user") | .linux.uidMappings = %s | .linux.gidMappings = %s;
def hostpid: %s;
def ownsrc: .root.path as $r | ($WORK + "/src") as $src | .mounts |= map(select(.source != $src))
	+ [{destination: "/src/sub", type: "tmpfs", source: "below", options: []}]
	+ map(select(.source == $src) | .source = $WORK + "/b/" + $r + "/src");
`, uids, gids, hostpid), nil
}

// settleIDs gives the files of the bundles to the containers' ids: what root has
// put there since the last time is the host's. (In the way Rootless it is
// container root's already.)
func settleIDs(ts *testscript.TestScript) {
	w := driverOf(ts).ways
	for _, dir := range w.rootfs {
		var root unix.Stat_t
		if unix.Lstat(dir, &root) != nil {
			continue // the script has moved it away
		}
		ts.Check(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return err
			}
			if st.Dev != root.Dev {
				return fs.SkipDir // a mount of the script's
			}
			return giveTo(path, &st, world.UsernsMap[0].HostID)
		}))
	}
}

// giveTo gives a file of the host's to the ids from first on.
func giveTo(path string, st *unix.Stat_t, first int) error {
	uid, gid := int(st.Uid), int(st.Gid)
	if uid >= first && gid >= first {
		return nil
	}
	if uid < first {
		uid += first
	}
	if gid < first {
		gid += first
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 { // chown takes it away
		return unix.Chmod(path, st.Mode&0o7777)
	}
	return nil
}

// cmdOwn is "own UID:GID FILE...": gives the files, and those below them, to
// ids as the container has them.
func cmdOwn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: own UID:GID FILE...")
	}
	uid, gid := parseIDs(ts, args[0])
	files := make([]string, 0, len(args)-1)
	for _, f := range args[1:] {
		files = append(files, ts.MkAbs(f))
	}
	// An ordinary user may give files to others of the own ids only in a user
	// namespace that has them; util-linux makes one with the maps of Rootless.
	name, rest := "chown", []string{}
	if w := driverOf(ts).ways; w.way == world.Rootless {
		name, rest = "unshare", []string{"--map-root-user", "--map-auto", "--setuid", "0", "--setgid", "0", "chown"}
	} else {
		var err error
		uid, err = world.ToHost(w.uids, uid)
		ts.Check(err)
		gid, err = world.ToHost(w.gids, gid)
		ts.Check(err)
	}
	rest = append(rest, "-hR", fmt.Sprintf("%d:%d", uid, gid), "--")
	if out, err := exec.Command(name, append(rest, files...)...).CombinedOutput(); err != nil {
		ts.Fatalf("%s: %v: %s", name, err, out)
	}
}

func parseIDs(ts *testscript.TestScript, text string) (uid, gid int) {
	u, g, ok := strings.Cut(text, ":")
	if !ok {
		ts.Fatalf("%q is not UID:GID", text)
	}
	uid, err := strconv.Atoi(u)
	ts.Check(err)
	gid, err = strconv.Atoi(g)
	ts.Check(err)
	return uid, gid
}

// readyDebian is the Debian that root has mounted for an ordinary user, who may
// mount none and owns no files of others.
const readyDebian = "/mnt/debian"

// debianLine is how a script asks for a Debian.
var debianLine = regexp.MustCompile(`(?m)^(\[[^]]*\] )*(debian|podman) `)

// prepareDebian mounts one where the script will ask for it.
func prepareDebian(way world.Way, script string) error {
	if way != world.Rootless {
		return nil
	}
	text, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	if !debianLine.Match(text) {
		return nil
	}
	w, err := newWays()
	if err != nil {
		return err
	}
	// Not below /run, whose files are counted.
	if err := unix.Mount("tmpfs", filepath.Dir(readyDebian), "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", filepath.Dir(readyDebian), err)
	}
	_, err = mountDebian(readyDebian, w)
	return err
}

// mountDebian mounts the Debian at dir/rootfs, its ids as the containers have
// them, and what is written there below dir. It returns its mounts.
func mountDebian(dir string, w ways) (mounts []string, err error) {
	lower, err := debianRootfs()
	if err != nil {
		return nil, err
	}
	rootfs, upper, work := filepath.Join(dir, "rootfs"), filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{rootfs, upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if w.uids != nil {
		mapped := filepath.Join(dir, "lower")
		if err := os.Mkdir(mapped, 0o755); err != nil {
			return nil, err
		}
		if err := mountMapped(lower, mapped, w); err != nil {
			return nil, err
		}
		lower, mounts = mapped, append(mounts, mapped)
		for _, d := range []string{upper, work} {
			if err := os.Chown(d, w.uids[0].HostID, w.gids[0].HostID); err != nil {
				return mounts, err
			}
		}
	}
	err = unix.Mount("overlay", rootfs, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
	if err != nil {
		return mounts, fmt.Errorf("mount a Debian at %s: %w", rootfs, err)
	}
	return append(mounts, rootfs), nil
}

// mountMapped shows the directory from at to, with its ids mapped.
func mountMapped(from, to string, w ways) error {
	// Any process will do that has a user namespace with the maps.
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: sysMaps(w.uids),
		GidMappings: sysMaps(w.gids),
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("a user namespace: %w", err)
	}
	defer cmd.Wait()
	defer in.Close()
	userns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer userns.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", from, err)
	}
	defer unix.Close(fd)
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())})
	if err != nil {
		return fmt.Errorf("map the ids of %s: %w", from, err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", to, err)
	}
	return nil
}

func sysMaps(maps []world.IDMap) []syscall.SysProcIDMap {
	var all []syscall.SysProcIDMap
	for _, m := range maps {
		all = append(all, syscall.SysProcIDMap{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size})
	}
	return all
}
