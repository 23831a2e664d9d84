package world

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// A Way is in whose name a world's tests run, and whose ids their containers
// have.
type Way string

// The ways. GOURD_TEST_WAY names one.
const (
	// AsRoot: by root; container root is the host's.
	AsRoot Way = "root"
	// Userns: by root, and every container has a user namespace.
	Userns Way = "userns"
	// Rootless: by an ordinary user, in a cgroup that is the user's; every
	// container has a user namespace, with the ids that /etc/subuid gives.
	Rootless Way = "rootless"
)

// TheWay returns the way that $GOURD_TEST_WAY names, AsRoot by default.
func TheWay() (Way, error) {
	switch w := Way(os.Getenv("GOURD_TEST_WAY")); w {
	case "":
		return AsRoot, nil
	case AsRoot, Userns, Rootless:
		return w, nil
	default:
		return "", fmt.Errorf("unknown GOURD_TEST_WAY %q: root, userns or rootless", w)
	}
}

// UserID is the user and group of the way Rootless.
const UserID = 1000

// An IDMap is one line of a user namespace's map.
type IDMap struct {
	ContainerID int `json:"containerID"`
	HostID      int `json:"hostID"`
	Size        int `json:"size"`
}

// UsernsMap is what containers have in the way Userns, and where a script of
// another way of root's asks for a user namespace.
var UsernsMap = []IDMap{{0, 100000, 65536}}

// Maps returns the id maps that containers have: those of users and of groups;
// none in the way AsRoot.
func (w Way) Maps() (uids, gids []IDMap, err error) {
	switch w {
	case Userns:
		return UsernsMap, UsernsMap, nil
	case Rootless:
		if uids, err = userMap("/etc/subuid"); err != nil {
			return nil, nil, err
		}
		gids, err = userMap("/etc/subgid")
		return uids, gids, err
	}
	return nil, nil, nil
}

// userMap maps container root to the ordinary user, and as many ids as file
// gives to the user from there.
func userMap(file string) ([]IDMap, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name := UserName()
	for in := bufio.NewScanner(f); in.Scan(); {
		p := strings.Split(in.Text(), ":")
		if len(p) != 3 || p[0] != name && p[0] != strconv.Itoa(UserID) {
			continue
		}
		first, err := strconv.Atoi(p[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		size, err := strconv.Atoi(p[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return []IDMap{{0, UserID, 1}, {1, first, size}}, nil
	}
	return nil, fmt.Errorf("%s gives no ids to user %d", file, UserID)
}

// UserName returns the name of the ordinary user, "" where there is none.
func UserName() string {
	u, err := user.LookupId(strconv.Itoa(UserID))
	if err != nil {
		return ""
	}
	return u.Username
}

// ToHost returns the host's id for a container's.
func ToHost(maps []IDMap, id int) (int, error) {
	if maps == nil {
		return id, nil
	}
	for _, m := range maps {
		if id >= m.ContainerID && id < m.ContainerID+m.Size {
			return m.HostID + id - m.ContainerID, nil
		}
	}
	return 0, fmt.Errorf("the containers have no id %d", id)
}
