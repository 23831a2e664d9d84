package netdevices

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netlink.go: the few messages of rtnetlink(7) that are needed.

// conn is a netlink connection to one network namespace.
type conn struct{ socket nl.SocketHandle }

// dial opens a connection to the namespace that the calling thread is in.
func dial() (*conn, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	_ = s.SetExtAck(true) // the kernel's words for what is wrong, where it has some
	return &conn{nl.SocketHandle{Socket: s}}, nil
}

func (c *conn) close() {
	if c != nil {
		c.socket.Close()
	}
}

// do sends a request, and returns the messages of the answer that are of a type.
func (c *conn) do(r *nl.NetlinkRequest, answer uint16) ([][]byte, error) {
	r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: &c.socket}
	return r.Execute(unix.NETLINK_ROUTE, answer)
}

// dumps is how often a list is asked for that changes all the time.
const dumps = 16

// dump asks for a list, again if it has changed while it was told.
func (c *conn) dump(kind uint16, body nl.NetlinkRequestData, answer uint16) (list [][]byte, err error) {
	for range dumps {
		r := nl.NewNetlinkRequest(int(kind), unix.NLM_F_DUMP)
		r.AddData(body)
		list, err = c.do(r, answer)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// link is a network device.
type link struct {
	index int32
	name  string
	up    bool
	other []string // its alternative names
}

// links lists the devices of the namespace.
func (c *conn) links() ([]link, error) {
	list, err := c.dump(unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), unix.RTM_NEWLINK)
	if err != nil {
		return nil, fmt.Errorf("list the network devices: %w", err)
	}
	links := make([]link, 0, len(list))
	for _, m := range list {
		l, err := parseLink(m)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// link returns the device of an index.
func (c *conn) link(index int32) (link, error) {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	body := nl.NewIfInfomsg(unix.AF_UNSPEC)
	body.Index = index
	r.AddData(body)
	list, err := c.do(r, unix.RTM_NEWLINK)
	if err == nil && len(list) == 0 {
		err = unix.ENODEV
	}
	if err != nil {
		return link{}, err
	}
	return parseLink(list[0])
}

func parseLink(m []byte) (link, error) {
	if len(m) < unix.SizeofIfInfomsg {
		return link{}, fmt.Errorf("the kernel tells of a network device in %d bytes", len(m))
	}
	l := link{
		index: int32(binary.NativeEndian.Uint32(m[4:])),
		up:    binary.NativeEndian.Uint32(m[8:])&unix.IFF_UP != 0,
	}
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
	if err != nil {
		return link{}, fmt.Errorf("read what the kernel tells of a network device: %w", err)
	}
	for _, a := range attrs {
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_PROP_LIST:
			props, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return link{}, fmt.Errorf("read the names of %s: %w", l.name, err)
			}
			for _, p := range props {
				if p.Attr.Type == unix.IFLA_ALT_IFNAME {
					l.other = append(l.other, unix.ByteSliceToString(p.Value))
				}
			}
		}
	}
	return l, nil
}

// has is whether the device goes by this name.
func (l *link) has(name string) bool { return l.name == name || slices.Contains(l.other, name) }

// address is an address of a device: the kernel's message of it, and what of
// it is looked at. What is not known here goes with it all the same.
type address struct {
	message []byte // struct ifaddrmsg
	attrs   []*nl.RtAttr
	index   int32
	flags   uint32
	scope   uint8
	family  uint8
	maker   uint8 // of IFA_PROTO, 0 where nobody says
}

// The makers of addresses that are the kernel itself: it makes them again
// (IFAPROT_KERNEL_LO to IFAPROT_KERNEL_LL, linux/if_addr.h).
const firstKernel, lastKernel = 1, 3

// ifaProto is IFA_PROTO of linux/if_addr.h.
const ifaProto = 11

// addresses lists those of all devices of the namespace, in an order in which
// they can be added again: of IPv6 the kernel tells the newest first.
func (c *conn) addresses() ([]address, error) {
	list, err := c.dump(unix.RTM_GETADDR, &ifAddr{}, unix.RTM_NEWADDR)
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	var v4, v6 []address
	for _, m := range list {
		a, err := parseAddress(m)
		if err != nil {
			return nil, err
		}
		if a.family == unix.AF_INET6 {
			v6 = append(v6, a)
		} else {
			v4 = append(v4, a)
		}
	}
	slices.Reverse(v6)
	return append(v4, v6...), nil
}

func parseAddress(m []byte) (address, error) {
	if len(m) < unix.SizeofIfAddrmsg {
		return address{}, fmt.Errorf("the kernel tells of an address in %d bytes", len(m))
	}
	a := address{
		message: m[:unix.SizeofIfAddrmsg], family: m[0], flags: uint32(m[2]), scope: m[3],
		index: int32(binary.NativeEndian.Uint32(m[4:])),
	}
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfAddrmsg:])
	if err != nil {
		return address{}, fmt.Errorf("read what the kernel tells of an address: %w", err)
	}
	for _, at := range attrs {
		switch {
		case at.Attr.Type == unix.IFA_FLAGS && len(at.Value) >= 4:
			a.flags = binary.NativeEndian.Uint32(at.Value) // the message has room for the first eight
		case at.Attr.Type == ifaProto && len(at.Value) >= 1:
			a.maker = at.Value[0]
		}
		a.attrs = append(a.attrs, nl.NewRtAttr(int(at.Attr.Type), at.Value))
	}
	return a, nil
}

// lasting is whether the address is one that goes with its device: permanent,
// and of global scope.
func (a *address) lasting() bool {
	return a.flags&unix.IFA_F_PERMANENT != 0 && a.scope == unix.RT_SCOPE_UNIVERSE
}

// kernels is whether the kernel has made the address and makes it again.
func (a *address) kernels() bool { return a.maker >= firstKernel && a.maker <= lastKernel }

// String returns the address as people write it.
func (a *address) String() string {
	for _, kind := range []uint16{unix.IFA_LOCAL, unix.IFA_ADDRESS} {
		for _, at := range a.attrs {
			if at.Type != kind {
				continue
			}
			if ip, ok := netip.AddrFromSlice(at.Data); ok {
				return fmt.Sprintf("%s/%d", ip, a.message[1])
			}
		}
	}
	return "an address"
}

// ifAddr is an empty struct ifaddrmsg, of all families.
type ifAddr struct{}

func (*ifAddr) Len() int          { return unix.SizeofIfAddrmsg }
func (*ifAddr) Serialize() []byte { return make([]byte, unix.SizeofIfAddrmsg) }

// add gives the address to a device, which may have another name and index by
// now: an IPv4 address is labelled with the former. replace is for one that may
// be there.
func (c *conn) add(a *address, l *link, replace bool) error {
	how := unix.NLM_F_CREATE | unix.NLM_F_EXCL
	if replace {
		how = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	}
	r := nl.NewNetlinkRequest(unix.RTM_NEWADDR, how|unix.NLM_F_ACK)
	message := slices.Clone(a.message)
	binary.NativeEndian.PutUint32(message[4:], uint32(l.index))
	r.AddRawData(message)
	for _, at := range a.attrs {
		if at.Type == unix.IFA_LABEL {
			at = nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(label(unix.ByteSliceToString(at.Data), l.name)))
		}
		r.AddRawData(at.Serialize())
	}
	if _, err := c.do(r, 0); err != nil {
		return fmt.Errorf("give %s to %s: %w", a, l.name, err)
	}
	return nil
}

// label returns what becomes of the label of an address with a new name of its
// device: what is behind a colon stays, as far as there is room.
func label(old, name string) string {
	_, alias, ok := strings.Cut(old, ":")
	if !ok {
		return name
	}
	alias = ":" + alias
	if room := unix.IFNAMSIZ - 1 - len(alias); len(name) > room {
		name = name[:max(room, 0)]
	}
	return name + alias
}

// move moves the device of an index into a namespace, where it gets a name, or
// one by a pattern, and an index.
func (c *conn) move(index int32, ns int, name string, newIndex int32) error {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	body := nl.NewIfInfomsg(unix.AF_UNSPEC)
	body.Index = index
	r.AddData(body)
	r.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns))))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	r.AddData(nl.NewRtAttr(unix.IFLA_NEW_IFINDEX, nl.Uint32Attr(uint32(newIndex))))
	_, err := c.do(r, 0)
	return err
}

// setUp sets the device up.
func (c *conn) setUp(l *link) error {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	body := nl.NewIfInfomsg(unix.AF_UNSPEC)
	body.Index, body.Flags, body.Change = l.index, unix.IFF_UP, unix.IFF_UP
	r.AddData(body)
	if _, err := c.do(r, 0); err != nil {
		return fmt.Errorf("set %s up: %w", l.name, err)
	}
	return nil
}
