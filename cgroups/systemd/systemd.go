// Package systemd puts a container into a scope of systemd, over D-Bus, and
// changes the scope's limits.
//
// Only that: what a scope has in common with every cgroup (freezing, killing,
// statistics, removal) is package cgroups', and needs no D-Bus. It is a package
// of its own so that nothing of D-Bus is linked or initialised where the fs
// manager is enough.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/internal/cleanup"
	"golang.org/x/sys/unix"
)

// patience bounds every job of systemd, as runc does.
const patience = 30 * time.Second

// Manager is a connection to a systemd. A command opens one and uses it for
// everything.
type Manager struct {
	conn    *sd.Conn
	user    bool
	version int // of systemd, 0 while it is not known
}

// Connect connects to the system's systemd, or to the user's own one with user
// set (rootless). The environment says where the user's bus is
// (DBUS_SESSION_BUS_ADDRESS, else XDG_RUNTIME_DIR/bus).
func Connect(ctx context.Context, user bool) (*Manager, error) {
	conn, err := dial(ctx, user)
	if err != nil {
		who, hint := "the system's systemd", "is systemd running? Without it, leave out --systemd-cgroup"
		if user {
			who, hint = "the user's systemd", "is there a login session with a D-Bus user session (package dbus-user-session)?"
		}
		return nil, fmt.Errorf("connect to %s: %w (%s)", who, err, hint)
	}
	// go-systemd wants one connection for calls and another for signals. One
	// does for both, and is half the work for the bus.
	c, err := sd.NewConnection(func() (*dbus.Conn, error) { return conn, nil })
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	return &Manager{conn: c, user: user}, nil
}

// Close closes the connection.
func (m *Manager) Close() { m.conn.Close() }

func dial(ctx context.Context, user bool) (*dbus.Conn, error) {
	address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	if address == "" {
		address = "unix:path=/run/dbus/system_bus_socket"
	}
	if user {
		var err error
		if address, err = userBus(); err != nil {
			return nil, err
		}
	}
	conn, err := open(ctx, address, true)
	if err != nil && !user && os.Geteuid() == 0 {
		// Early in boot there is no bus yet, but systemd itself listens for root.
		if direct, errDirect := open(ctx, "unix:path=/run/systemd/private", false); errDirect == nil {
			return direct, nil
		}
	}
	return conn, err
}

// open connects to a bus, or with hello unset to systemd itself, as this uid. It
// is EXTERNAL authentication by number: looking up a user's name is not needed.
func open(ctx context.Context, address string, hello bool) (*dbus.Conn, error) {
	conn, err := dbus.Dial(address, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil && hello {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return conn, nil
}

func userBus() (string, error) {
	if a := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); a != "" {
		return a, nil
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return "unix:path=" + dbus.EscapeBusAddressValue(filepath.Join(dir, "bus")), nil
	}
	return "", errors.New("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")
}

// Start makes the scope of p around the process pid, which must not have left
// gourd's cgroup namespace yet, and returns when it is inside. The device
// program and the early limits are in force then. undo gets how to remove the
// scope with all its processes.
func (m *Manager) Start(ctx context.Context, p *cgroups.Plan, pid int, undo *cleanup.Stack) (*cgroups.Cgroup, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	props, err := m.scope(&p.Scope, pid)
	if err != nil {
		return nil, err
	}
	if err := m.start(ctx, p.Scope.Unit, props); err != nil {
		return nil, fmt.Errorf("start scope %s: %w", p.Scope.Unit, err)
	}
	dir, err := scopeOf(pid, p)
	if err != nil {
		return nil, err
	}
	rec := cgroups.Record{
		Path: dir, Root: p.Root, Made: []string{dir},
		Manager: cgroups.ManagerSystemd, Scope: p.Scope.Unit, User: m.user,
	}
	c, err := cgroups.Attach(rec)
	if err != nil {
		return nil, err
	}
	rec = c.Record()
	undo.Add("remove the scope "+p.Scope.Unit, func() error {
		c, err := cgroups.Open(rec)
		if err != nil {
			return err
		}
		defer c.Close()
		return errors.Join(c.Kill(), c.Remove())
	})
	// systemd enables the controllers that it knows; the others are gourd's.
	if err = c.Enable(p); err == nil {
		err = c.Prepare(p)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Late writes the limits that could have stopped init's own set-up.
func (m *Manager) Late(ctx context.Context, p *cgroups.Plan, c *cgroups.Cgroup) error {
	if err := m.set(ctx, c.Record().Scope, p.Scope.Late); err != nil {
		return err
	}
	return c.Late(p)
}

// Update carries out ch on the scope of c, and tells systemd when the kernel
// has taken all of it, so that systemd does not put the old values back.
func (m *Manager) Update(ctx context.Context, c *cgroups.Cgroup, ch *cgroups.Changes) error {
	s := &ch.Plan.Scope
	return c.Update(ch, func() error {
		return m.set(ctx, c.Record().Scope, slices.Concat(s.Properties, s.Late))
	})
}

// Attach moves the process into dir, which is the cgroup of a record or one
// below it. It is for who may not do so by cgroup.procs. The error is EBUSY where
// dir may have no processes of its own.
func (m *Manager) Attach(ctx context.Context, rec *cgroups.Record, dir string, pid int) error {
	sub, ok := strings.CutPrefix(dir, rec.Path)
	if !ok || sub != "" && sub[0] != '/' {
		return fmt.Errorf("move process %d to cgroup %s: it is not in scope %s: %w", pid, dir, rec.Scope, fs.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := m.conn.AttachProcessesToUnit(ctx, rec.Scope, sub, []uint32{uint32(pid)})
	switch {
	case isError(err, "System.Error.EBUSY"):
		return fmt.Errorf("move process %d to cgroup %s: %w", pid, dir, unix.EBUSY)
	case err != nil:
		return fmt.Errorf("move process %d to cgroup %s of scope %s: %w", pid, dir, rec.Scope, err)
	}
	// It must not go on where no limit holds it.
	group, err := cgroups.OfProcess(pid)
	if err != nil {
		return err
	}
	if want := strings.TrimPrefix(dir, rec.Root); group != want {
		return fmt.Errorf("move process %d to cgroup %s of scope %s: it is in %s", pid, want, rec.Scope, group)
	}
	return nil
}

// set sets properties of a running scope, until the next boot.
func (m *Manager) set(ctx context.Context, unit string, list []cgroups.Property) error {
	props, err := m.known(list)
	if err != nil || len(props) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := m.conn.SetUnitPropertiesContext(ctx, unit, true, props...); err != nil {
		return fmt.Errorf("set %s of scope %s: %w", names(list), unit, err)
	}
	return nil
}

func names(list []cgroups.Property) string {
	var s []string
	for _, p := range list {
		s = append(s, p.Name)
	}
	return strings.Join(s, ", ")
}

// start starts a transient unit and waits until it runs. A unit of that name
// that has failed, or that systemd has not cleared away yet, is cleared away.
func (m *Manager) start(ctx context.Context, unit string, props []sd.Property) error {
	err := m.job(ctx, func(done chan<- string) error {
		_, err := m.conn.StartTransientUnitContext(ctx, unit, "fail", props, done)
		return err
	})
	if !isError(err, "org.freedesktop.systemd1.UnitExists") {
		return err
	}
	if err := m.clear(ctx, unit); err != nil {
		return err
	}
	return m.job(ctx, func(done chan<- string) error {
		_, err := m.conn.StartTransientUnitContext(ctx, unit, "fail", props, done)
		return err
	})
}

// clear makes systemd forget a unit that has no process any more.
func (m *Manager) clear(ctx context.Context, unit string) error {
	p, err := m.conn.GetUnitTypePropertyContext(ctx, unit, "Scope", "ControlGroup")
	if err == nil {
		if inUse(p.Value.Value()) {
			return fmt.Errorf("it exists and has processes: %w", os.ErrExist)
		}
		err = m.job(ctx, func(done chan<- string) error {
			_, err := m.conn.StopUnitContext(ctx, unit, "replace", done)
			return err
		})
		if err != nil && !isError(err, "org.freedesktop.systemd1.NoSuchUnit") {
			return err
		}
	}
	// It may have failed, and is kept for somebody to look at it; or it is
	// gone meanwhile, and there is nothing to reset.
	if err := m.conn.ResetFailedUnitContext(ctx, unit); err != nil && !isError(err, "org.freedesktop.systemd1.NoSuchUnit") {
		return err
	}
	return nil
}

// inUse tells whether the cgroup, as systemd names it, has processes. When in
// doubt it has.
func inUse(controlGroup any) bool {
	group, ok := controlGroup.(string)
	if !ok || group == "" {
		return false
	}
	root, _, err := cgroups.Find()
	if err != nil || root == "" {
		return true
	}
	c, err := cgroups.Open(cgroups.Record{Path: filepath.Join(root, group), Root: root})
	if err != nil {
		return true
	}
	defer c.Close()
	populated, err := c.Populated()
	return populated || err != nil
}

// job queues a job and waits for its end.
func (m *Manager) job(ctx context.Context, queue func(done chan<- string) error) error {
	done := make(chan string, 1)
	if err := queue(done); err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("systemd says %q; its journal may tell more", result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("systemd has not answered: %w", ctx.Err())
	}
}

// scopeOf returns the directory of the cgroup that the process is in, and makes
// sure that it is the scope's.
func scopeOf(pid int, p *cgroups.Plan) (string, error) {
	group, err := cgroups.OfProcess(pid)
	if err != nil {
		return "", err
	}
	if filepath.Base(group) != p.Scope.Unit {
		return "", fmt.Errorf("start scope %s: systemd says that it runs, but process %d is in cgroup %s", p.Scope.Unit, pid, group)
	}
	return filepath.Join(p.Root, group), nil
}

func isError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == name
}
