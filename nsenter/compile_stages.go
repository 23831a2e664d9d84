package nsenter

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// The stages of compile, in its order. Each appends steps.

// childName is the command name of the child until it executes the program:
// for ps, and for the parent, which sees by it whether a dead child had.
const childName = "gourd:[nsenter]"

// birth is what the child does before anything else.
func (c *compiler) birth() {
	c.t.Call("close the parent's end of the conversation", unix.SYS_CLOSE, Num(c.h.peer))
	c.name()
	c.defaultActions()
	if c.h.cgroupProcs >= 0 {
		c.t.Call("join the cgroup", unix.SYS_WRITE, Num(c.h.cgroupProcs), c.t.Bytes("0"), Num(1))
	}
	maps := c.flags&unix.CLONE_NEWUSER != 0 && c.wantsMaps()
	c.mapsNow = maps && !c.h.askForMaps
	c.waits = c.mapsNow || c.r.BeforeUnshareCgroup != nil
	if c.waits {
		c.wait("wait for gourd to prepare the child")
	}
	if maps && c.h.askForMaps {
		c.askMaps()
	}
}

// enterStub ends the first table with the execution of the stub and begins
// the second.
func (c *compiler) enterStub() {
	fds := c.needed()
	for _, fd := range fds {
		c.t.Call("keep file descriptor "+strconv.Itoa(fd)+" open for the stub", unix.SYS_FCNTL, Num(fd), Num(unix.F_SETFD), Num(0))
	}
	argv := []string{childName}
	if c.r.Finish != nil && len(c.r.Args) > 0 {
		argv = c.r.Args
	}
	c.t.Call("execute the stub", unix.SYS_EXECVEAT, Num(-1), c.t.String(""),
		c.t.Strings(argv), c.t.Strings(nil), Num(unix.AT_EMPTY_PATH))
	c.second.First = len(c.first.Steps)
	c.t = &c.second
	c.name()
	for _, fd := range fds {
		c.t.Call("close file descriptor "+strconv.Itoa(fd)+" on exec", unix.SYS_FCNTL, Num(fd), Num(unix.F_SETFD), Num(unix.FD_CLOEXEC))
	}
}

// needed returns the file descriptors that the stub has to inherit, each once.
func (c *compiler) needed() []int {
	fds := make([]int, 0, 8+len(c.r.Join)+len(c.r.Keep))
	add := func(fd int) {
		for _, have := range fds {
			if have == fd {
				return
			}
		}
		fds = append(fds, fd)
	}
	add(c.h.socket)
	if c.r.Exe != nil {
		add(int(c.r.Exe.Fd()))
	}
	for _, fd := range c.r.Uses {
		add(fd)
	}
	for _, j := range c.r.Join {
		add(j.FD)
	}
	for _, fd := range c.r.Keep {
		add(fd)
	}
	for _, fd := range c.r.Stdio {
		if fd > 2 {
			add(fd)
		}
	}
	return fds
}

func (c *compiler) name() {
	c.t.Call("name the child", unix.SYS_PRCTL, Num(unix.PR_SET_NAME), c.t.String(childName))
}

// defaultActions gives every signal its default action. CLONE_CLEAR_SIGHAND has
// done so for those with a handler, which must not run in the child; what is left
// are those that the caller of this program had ignored and for which Go installs
// no handler then. To a container it is nothing that its engine was started by
// nohup(1).
func (c *compiler) defaultActions() {
	const numSignals, sigsetSize = 64, 8
	ignorable := []int{int(unix.SIGHUP), int(unix.SIGINT), int(unix.SIGCONT), int(unix.SIGTSTP), int(unix.SIGTTIN), int(unix.SIGTTOU), 32, 33, 34}
	deflt := c.t.Words(0, 0, 0, 0) // struct sigaction: SIG_DFL
	for sig := 1; sig <= numSignals; sig++ {
		if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) || c.h.clone3 && !slices.Contains(ignorable, sig) {
			continue
		}
		c.t.Call("reset a signal's action", unix.SYS_RT_SIGACTION, Num(sig), deflt, Num(0), Num(sigsetSize))
	}
}

// send appends the sending of a message with that meaning and returns the
// address of its value, which is 0 until something is saved there.
func (c *compiler) send(says Says, why string) Arg { return c.t.say(says, c.h.socket, why) }

func (t *Table) say(says Says, socket int, why string) Arg {
	msg := t.Words(uint64(t.First+len(t.Steps)), 0)
	t.Call(why, unix.SYS_SENDTO, Num(socket), msg, Num(messageSize), Num(unix.MSG_NOSIGNAL)).Says = says
	return Arg{argAddr, msg.n + 8}
}

// wait appends the reading of the parent's byte.
func (c *compiler) wait(why string) { c.t.await(c.h.socket, why) }

func (t *Table) await(socket int, why string) {
	t.Call(why, unix.SYS_READ, Num(socket), t.Cell(), Num(1)).Kind = Wait
}

func (c *compiler) dumpable(on int) {
	why := "become undumpable"
	if on != 0 {
		why = "become dumpable"
	}
	c.t.Call(why, unix.SYS_PRCTL, Num(unix.PR_SET_DUMPABLE), Num(on))
}

// askMaps lets the parent write the maps. For a parent that is not root the
// child is dumpable meanwhile: the files of an undumpable process in /proc
// belong to root.
func (c *compiler) askMaps() {
	if c.h.mapsByOwner {
		c.dumpable(1)
	}
	c.send(SaysMapMe, "ask gourd for the user namespace's maps")
	c.wait("wait for the user namespace's maps")
	if c.h.mapsByOwner {
		c.dumpable(0)
	}
}

// join joins all of r.Join.
func (c *compiler) join() {
	if c.joins == 0 {
		return
	}
	c.dumpable(0)
	user := c.joins&unix.CLONE_NEWUSER != 0
	type again struct {
		j    *Join
		cell Arg
	}
	var retry []again
	var userJoin *Join
	var done uintptr
	for _, ns := range nsNames {
		for i := range c.r.Join {
			j := &c.r.Join[i]
			switch {
			case j.Flag&ns.flag == 0 || j.Flag&done != 0:
			case j.Flag == unix.CLONE_NEWUSER && c.h.ownUser:
				// setns(2): EINVAL for the caller's own user namespace.
			case j.Flag&unix.CLONE_NEWUSER != 0:
				userJoin = j
			default:
				s := c.setns(j)
				if user {
					cell := c.t.Cell()
					s.Allow, s.Save = errnos(unix.EPERM), cell
					retry = append(retry, again{j, cell})
				}
			}
			if j.Flag&ns.flag != 0 {
				done |= j.Flag
			}
		}
	}
	if !user {
		return
	}
	c.setns(userJoin)
	for _, a := range retry {
		c.t.SkipIf(a.cell, 0, 1)
		c.setns(a.j)
	}
	c.becomeRoot(false)
}

func (c *compiler) setns(j *Join) *Step {
	return c.t.Call("join the "+names(j.Flag)+" "+j.Path, unix.SYS_SETNS, Num(j.FD), Arg{n: j.Flag})
}

// makeUser makes the user namespace, unless the first clone did, and becomes
// root of it: as an id that is not mapped, the child would lose all its
// capabilities at the execve.
func (c *compiler) makeUser() {
	if c.r.New&unix.CLONE_NEWUSER == 0 {
		return
	}
	if c.left&unix.CLONE_NEWUSER != 0 {
		c.unshare(unix.CLONE_NEWUSER)
		if c.wantsMaps() {
			c.askMaps()
		}
	}
	if c.r.mapsRoot() {
		c.becomeRoot(true)
	} else {
		c.keepCapabilities()
	}
}

// becomeRoot changes to the ids 0. certain says that uid 0 is mapped;
// otherwise the kernel is asked, and its no makes the child keep its
// capabilities in another way.
func (c *compiler) becomeRoot(certain bool) {
	if !c.r.DenySetgroups {
		// EPERM: setgroups is denied in this user namespace.
		c.t.Call("drop the supplementary groups", unix.SYS_SETGROUPS, Num(0), Num(0)).Allow = errnos(unix.EPERM)
	}
	// EINVAL: the id is not mapped.
	c.t.Call("become group 0 of the user namespace", unix.SYS_SETRESGID, Num(0), Num(0), Num(0)).Allow = errnos(unix.EINVAL)
	s := c.t.Call("become user 0 of the user namespace", unix.SYS_SETRESUID, Num(0), Num(0), Num(0))
	if certain {
		return
	}
	cell := c.t.Cell()
	s.Allow, s.Save = errnos(unix.EINVAL), cell
	c.t.SkipIf(cell, 0, capabilitySteps)
	c.keepCapabilities()
}

// keepCapabilities makes all capabilities ambient, which an execve by a user
// who is not root keeps (capabilities(7), Linux 4.3). The program has to drop
// what it does not want of them.
func (c *compiler) keepCapabilities() {
	const version3 = 0x20080522
	header := c.t.Words(version3) // and pid 0, the caller
	sets := c.t.Words(^uint64(0), ^uint64(0), ^uint64(0))
	c.t.Call("make the capabilities inheritable", unix.SYS_CAPSET, header, sets)
	for n := range capabilities {
		s := c.t.Call("make the capabilities ambient", unix.SYS_PRCTL, Num(unix.PR_CAP_AMBIENT), Num(unix.PR_CAP_AMBIENT_RAISE), Num(n))
		s.Allow = errnos(unix.EINVAL) // an older kernel has no such capability
	}
}

const (
	capabilities    = unix.CAP_LAST_CAP + 1
	capabilitySteps = 1 + capabilities // how many steps keepCapabilities adds
)

func (c *compiler) unshare(flags uintptr) {
	c.t.Call("make "+newNames(flags), unix.SYS_UNSHARE, Arg{n: flags})
	c.left &^= flags
}

// makeOthers makes what is left, without what needs more steps or another
// clone.
func (c *compiler) makeOthers() {
	if f := c.left &^ (unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME | unix.CLONE_NEWPID); f != 0 {
		c.unshare(f)
	}
	if c.left&unix.CLONE_NEWCGROUP != 0 {
		c.unshare(unix.CLONE_NEWCGROUP)
	}
}

// makeTime makes the time namespace and sets its clocks. Only the children of
// this process will be in it.
func (c *compiler) makeTime() {
	if c.left&unix.CLONE_NEWTIME == 0 {
		return
	}
	c.unshare(unix.CLONE_NEWTIME)
	if len(c.r.Offsets) == 0 {
		return
	}
	var lines []byte
	for _, o := range c.r.Offsets {
		lines = append(append(lines, o.Clock...), ' ')
		lines = append(strconv.AppendInt(lines, o.Secs, 10), ' ')
		lines = append(strconv.AppendUint(lines, uint64(o.Nanosecs), 10), '\n')
	}
	c.dumpable(1)
	fd := c.t.Cell()
	c.t.Call("open /proc/self/timens_offsets", unix.SYS_OPENAT, Num(unix.AT_FDCWD),
		c.t.String("/proc/self/timens_offsets"), Num(unix.O_WRONLY|unix.O_CLOEXEC)).Save = fd
	c.t.Call("set the time offsets", unix.SYS_WRITE, fd.Value(), c.t.Bytes(string(lines)), Num(len(lines)))
	c.t.Call("close /proc/self/timens_offsets", unix.SYS_CLOSE, fd.Value())
	c.dumpable(0)
}

// cloneAgain hands over to a second child, which is in the pid and the time
// namespace that this process has only set for its children.
func (c *compiler) cloneAgain() {
	if !c.nested {
		return
	}
	const why = "clone the second child"
	flags := uint64(unix.CLONE_PARENT | c.left&unix.CLONE_NEWPID)
	if c.left&unix.CLONE_NEWPID != 0 {
		c.left &^= unix.CLONE_NEWPID
	}
	// With CLONE_PARENT the exit signal is that of this process.
	s := c.t.Call(why, unix.SYS_CLONE, Arg{n: uintptr(flags)})
	if c.h.clone3 {
		s.Trap, s.Args = unix.SYS_CLONE3, [6]Arg{c.t.Words(flags, 0, 0, 0, 0, 0, 0, 0), Num(cloneArgsSize0)}
	}
	i := len(c.t.Steps) - 1
	s.Kind, s.Target = Clone, i+2

	over := c.t.Add(Step{Kind: Jump, Why: "go on as the second child"})
	pid := c.send(SaysCloned, "tell gourd of the second child")
	c.t.Call("leave the rest to the second child", unix.SYS_EXIT_GROUP, Num(0))
	c.t.Steps[i].Save = pid
	c.t.Steps[over].Args = [6]Arg{pid, Num(0)}
	c.t.Steps[over].Target = len(c.t.Steps)
}

// stdio makes r.Stdio the descriptors 0, 1 and 2.
func (c *compiler) stdio() {
	var from [3]Arg
	for i, fd := range c.r.Stdio {
		from[i] = Num(fd)
		if fd >= 0 && fd < 3 && fd != i {
			// It may be replaced before it is used: work with a duplicate.
			cell := c.t.Cell()
			c.t.Call("duplicate file descriptor "+strconv.Itoa(fd), unix.SYS_FCNTL, Num(fd), Num(unix.F_DUPFD_CLOEXEC), Num(3)).Save = cell
			from[i] = cell.Value()
		}
	}
	for i, fd := range c.r.Stdio {
		switch why := "make file descriptor " + strconv.Itoa(fd) + " number " + strconv.Itoa(i); {
		case fd < 0:
		case fd == i:
			c.t.Call(why, unix.SYS_FCNTL, Num(i), Num(unix.F_SETFD), Num(0))
		default:
			c.t.Call(why, unix.SYS_DUP3, from[i], Num(i), Num(0))
		}
	}
}

// files closes all other files at the execve, but those to keep.
func (c *compiler) files() {
	// ENOSYS, EINVAL: before Linux 5.11. What gourd opened is close-on-exec
	// anyway; this is for what gourd itself was given.
	c.t.Call("close all file descriptors on exec", unix.SYS_CLOSE_RANGE, Num(3), Arg{n: maxFD}, Num(unix.CLOSE_RANGE_CLOEXEC)).Allow =
		errnos(unix.ENOSYS) | errnos(unix.EINVAL)
	for _, fd := range c.r.Keep {
		c.t.Call("keep file descriptor "+strconv.Itoa(fd), unix.SYS_FCNTL, Num(fd), Num(unix.F_SETFD), Num(0))
	}
}

// exec ends the table.
func (c *compiler) exec() {
	tail := Tail{c.t, c.h.nofile, c.h.socket}
	tail.RestoreNofile()
	c.send(SaysExec, "announce the execution of "+c.r.Exe.Name())
	tail.RestoreMask()
	c.t.Call("execute "+c.r.Exe.Name(), unix.SYS_EXECVEAT, Num(int(c.r.Exe.Fd())), c.t.String(""),
		c.t.Strings(c.r.Args), c.t.Strings(c.r.Env), Num(unix.AT_EMPTY_PATH))
}

// finish ends the table with the requester's own steps. The child of Start waits
// once more, so that nothing of them happens before the parent has agreed; that
// of Begin says what there is to say by steps of its own.
func (c *compiler) finish() {
	c.dumpable(0)
	if c.r.Ready != nil {
		c.send(SaysReady, "tell gourd that all is joined")
		c.wait("wait for gourd")
		c.send(SaysExec, "announce the execution of the program")
	}
	c.r.Finish(&Tail{c.t, c.h.nofile, c.h.socket})
}

func errnos(list ...unix.Errno) uint64 { return Errnos(list...) }

// maxFD is the last file descriptor that close_range knows: UINT_MAX.
const maxFD = 1<<32 - 1
