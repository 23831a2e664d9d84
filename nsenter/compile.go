package nsenter

import "golang.org/x/sys/unix"

// how is what compile has to know beside the Request.
type how struct {
	clone3      bool // else clone: no birth in a cgroup, no CLONE_CLEAR_SIGHAND
	socket      int  // the child's end of the conversation
	peer        int  // the parent's end of it
	stub        bool // execute the stub before anything is joined
	cgroupProcs int  // cgroup.procs of the request's cgroup, for want of clone3; -1: none
	nofile      *[2]uint64
	ownUser     bool // the user namespace to join is the one we are in
	mapsByOwner bool // the maps are written by a user who is not root: only while the child is dumpable
	askForMaps  bool // ... and it is not, at its birth
}

// program is what compile makes of a Request.
type program struct {
	flags   uint64 // CLONE_… of the first clone
	first   Table  // what the first child does
	second  Table  // what the stub does, when it is used
	waits   bool   // the child first waits for the parent: for its cgroup or its maps
	mapsNow bool   // the parent writes the maps during that wait
	nested  bool   // a second child takes over
}

// setStub sets the file descriptor of the stub. It cannot be known earlier:
// the stub holds the second table.
func (p *program) setStub(fd int) { p.first.Steps[len(p.first.Steps)-1].Args[0] = Num(fd) }

// step returns the step of that index in the child's messages.
func (p *program) step(i int) *Step {
	if i < 0 {
		return nil
	}
	if i < len(p.first.Steps) {
		return &p.first.Steps[i]
	}
	if i -= len(p.first.Steps); i < len(p.second.Steps) {
		return &p.second.Steps[i]
	}
	return nil
}

// compile turns r into the tables. It has no effects.
//
// # The order, and why
//
//  1. What needs the parent's help comes first, where the child waits for it
//     in one read: its cgroup and, if the user namespace is made by the clone
//     itself, its maps.
//  2. The stub: nothing is joined while /proc/PID/exe is a file of the host
//     (CVE-2019-5736) and while the memory is a copy of gourd's.
//  3. Joining. The child is undumpable before it (CVE-2016-9962). A
//     namespace may be owned by the user namespace to be joined, or by
//     another one over which only the present credentials have power: all but
//     the user namespace are tried first, and what was not permitted is tried
//     again behind it.
//  4. Making. With a user namespace to join, everything is made in it, so
//     that it owns what is made; with other namespaces to join and a user
//     namespace to make, the joins come first, because afterwards there is no
//     power over them. Only without such a conflict does the first clone make
//     the namespaces; but for an ipc namespace beside a user namespace, whose
//     root directory of mqueue is to be that root's.
//  5. The cgroup namespace is rooted in the cgroup of the process that makes
//     it, so it is made when the child is in its cgroup: with
//     CLONE_INTO_CGROUP that is at the clone itself (cgroup_post_fork sees to
//     it), else behind the move.
//  6. Time offsets can be set only until a process is inside the namespace,
//     and kernels before 6.2 let only children in: unshare, set, clone.
//  7. The second clone, for what happens only to children. CLONE_PARENT makes
//     the new child gourd's, not the first child's.
//  8. The program: its files, limits, signal mask, and execveat; or what the
//     requester has in place of that.
func compile(r *Request, h how) *program {
	c := &compiler{r: r, h: h, joins: r.joins(), left: r.New}
	if h.ownUser {
		c.joins &^= unix.CLONE_NEWUSER
	}
	p := &c.program
	p.first.Steps = make([]Step, 0, 32)
	p.first.data = make([]byte, 0, 2048)
	c.t = &p.first
	c.firstClone()
	c.nested = c.needsSecond()

	c.birth()
	if h.stub {
		c.enterStub()
	}
	c.join()
	c.makeUser()
	c.makeOthers()
	c.makeTime()
	c.cloneAgain()
	c.stdio()
	c.files()
	if r.Finish != nil {
		c.finish()
	} else {
		c.exec()
	}
	return p
}

type compiler struct {
	program
	r     *Request
	h     how
	t     *Table  // the one being filled
	joins uintptr // namespaces to join
	left  uintptr // namespaces still to be made
}

// firstClone decides what the first clone makes.
func (c *compiler) firstClone() {
	if c.h.clone3 {
		c.flags |= unix.CLONE_CLEAR_SIGHAND
		if c.sharesMemory() {
			c.flags |= unix.CLONE_VM
		}
		if c.r.CgroupFD >= 0 {
			c.flags |= unix.CLONE_INTO_CGROUP
		}
	}
	if c.joins&unix.CLONE_NEWUSER != 0 || c.joins != 0 && c.left&unix.CLONE_NEWUSER != 0 {
		return
	}
	now := c.left
	if c.h.cgroupProcs >= 0 || c.r.BeforeUnshareCgroup != nil {
		now &^= unix.CLONE_NEWCGROUP
	}
	if now&unix.CLONE_NEWUSER != 0 && c.r.mapsRoot() {
		// Its mqueue belongs to who makes it: to root of the user namespace.
		now &^= unix.CLONE_NEWIPC
	}
	if now&unix.CLONE_NEWTIME != 0 && (len(c.r.Offsets) != 0 || !c.h.clone3) {
		// The pid namespace too: its init may not use CLONE_PARENT.
		now &^= unix.CLONE_NEWTIME | unix.CLONE_NEWPID
	}
	c.flags |= uint64(now)
	c.left &^= now
}

// sharesMemory reports whether the first child can have gourd's own memory
// until it executes something, which spares the copy of the page tables, and
// gourd the faults on each page that it writes to afterwards. The child touches
// nothing but its image. It may not be so where the child becomes undumpable, as
// whoever joins something does, or whoever changes its credentials: that is the
// memory's. Nor where it is to be in another time namespace, which the kernel
// refuses to one that shares its memory. With the stub all joining comes after
// its execve.
func (c *compiler) sharesMemory() bool {
	if c.r.New&(unix.CLONE_NEWUSER|unix.CLONE_NEWTIME) != 0 {
		return false
	}
	return c.joins == 0 || c.h.stub && c.joins&unix.CLONE_NEWTIME == 0
}

// needsSecond reports whether another clone has to follow the first: for what
// a process can only set for its children. It must be asked before anything is
// unshared.
func (c *compiler) needsSecond() bool {
	return c.joins&unix.CLONE_NEWPID != 0 || c.left&(unix.CLONE_NEWPID|unix.CLONE_NEWTIME) != 0
}

// wantsMaps reports whether the new user namespace gets maps.
func (c *compiler) wantsMaps() bool {
	return len(c.r.UIDMaps) != 0 || len(c.r.GIDMaps) != 0 || c.r.MapWriter != nil
}
