package cgroups

import (
	"os"

	"golang.org/x/sys/unix"
)

// walk calls enter for the directory top and all below it, parents first, and
// leave, if it is not nil, with every directory's parent and name once all
// below it has been walked. top itself is not left. A directory that vanishes
// meanwhile is passed over.
//
// It holds a fixed number of fds whatever the depth, which is the container's
// to choose. Going up by ".." is safe: cgroup2 has neither rename nor symlinks.
func walk(top int, enter func(dir int) error, leave func(parent int, name string) error) error {
	cur, err := openAt(top, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer func() { unix.Close(cur) }()
	move := func(name string) error {
		next, err := openAt(cur, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == nil {
			unix.Close(cur)
			cur = next
		}
		return err
	}
	visit := func() ([]string, error) {
		if err := enter(cur); err != nil && !gone(err) {
			return nil, err
		}
		names, err := subdirs(cur)
		if gone(err) {
			err = nil
		}
		return names, err
	}

	todo := make([][]string, 1, 8) // per level, the directories still to walk
	if todo[0], err = visit(); err != nil {
		return err
	}
	path := make([]string, 0, 8) // the directories that cur is below, from top
	for {
		last := len(todo) - 1
		if n := len(todo[last]); n > 0 {
			name := todo[last][n-1]
			todo[last] = todo[last][:n-1]
			if err := move(name); err != nil {
				if gone(err) {
					continue
				}
				return err
			}
			names, err := visit()
			if err != nil {
				return err
			}
			path, todo = append(path, name), append(todo, names)
			continue
		}
		if last == 0 {
			return nil
		}
		if err := move(".."); err != nil {
			return err
		}
		name := path[len(path)-1]
		path, todo = path[:len(path)-1], todo[:last]
		if leave == nil {
			continue
		}
		if err := leave(cur, name); err != nil && !gone(err) {
			return err
		}
	}
}

// subdirs returns the names of the sub-cgroups right below dir.
func subdirs(dir int) ([]string, error) { return names(dir, true) }

// names returns the names of the directories, or of the files, right below dir.
func names(dir int, dirs bool) ([]string, error) {
	// A description of its own, so that reading it does not move dir's.
	fd, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "cgroup")
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() == dirs {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
