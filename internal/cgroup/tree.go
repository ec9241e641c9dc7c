package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// walk visits a group and all below, each before those below it, and calls leave, if there is one, for each but the top when all below
// it is done with, by its name and the group that it is in. That there is no group is no error.
//
// The groups below are the guest's own: nested deeper than a path can tell (PATH_MAX), and deeper than there are descriptors. So
// one is open at a time, found by its name in the one above, and left by "..": the kernel moves no group to another parent.
func walk(top string, visit func(group int) error, leave func(parent int, name string) error) error {
	at, err := openGroup(unix.AT_FDCWD, top)
	if err != nil {
		return ignoreGone(err)
	}
	w := walker{at: at, visit: visit, leave: leave}
	defer func() { _ = unix.Close(w.at) }()
	if err := w.enter(); err != nil {
		return err
	}
	for {
		level := len(w.left) - 1
		switch n := len(w.left[level]) - 1; {
		case n >= 0:
			name := w.left[level][n]
			w.left[level] = w.left[level][:n]
			err = w.down(name)
		case level > 0:
			err = w.up()
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// walker is where a walk has come to.
type walker struct {
	at    int        // the group
	path  []string   // the names that lead to it
	left  [][]string // what is still to be visited, in the top and in each group on the way
	visit func(group int) error
	leave func(parent int, name string) error
}

// enter visits the group that has been come to.
func (w *walker) enter() error {
	if w.visit != nil {
		if err := w.visit(w.at); err != nil {
			return err
		}
	}
	names, err := subgroups(w.at)
	if err != nil {
		return err
	}
	w.left = append(w.left, names)
	return nil
}

func (w *walker) down(name string) error {
	if err := w.move(name); err != nil {
		return ignoreGone(err) // by the guest's hand
	}
	w.path = append(w.path, name)
	return w.enter()
}

func (w *walker) up() error {
	if err := w.move(".."); err != nil {
		return err
	}
	last := len(w.path) - 1
	name := w.path[last]
	w.path, w.left = w.path[:last], w.left[:last+1]
	if w.leave == nil {
		return nil
	}
	return w.leave(w.at, name)
}

func (w *walker) move(name string) error {
	to, err := openGroup(w.at, name)
	if err != nil {
		return err
	}
	_ = unix.Close(w.at)
	w.at = to
	return nil
}

func openGroup(dir int, name string) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, &os.PathError{Op: "open control group", Path: name, Err: err}
	}
	return fd, nil
}

// childless is the number of links of a folder in which there is none: the kernel counts those of control groups.
const childless = 2

// subgroups lists the groups in one.
func subgroups(group int) ([]string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(group, &st); err != nil || st.Nlink == childless {
		return nil, err
	}
	fd, err := openGroup(group, ".")
	if err != nil {
		return nil, ignoreGone(err)
	}
	dir := os.NewFile(uintptr(fd), "control group")
	defer func() { _ = dir.Close() }()
	entries, err := dir.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, ignoreGone(err)
}

// Procs are the processes of the group and of all below, in any hierarchy. With an error, they are those that could be told.
func (g Group) Procs() ([]int, error) {
	seen := map[int]bool{}
	var out []int
	var errs []error
	for _, root := range g.host.roots() {
		errs = append(errs, walk(filepath.Join(root, g.name), func(group int) error {
			pids, err := readPids(group, "cgroup.procs")
			for _, pid := range pids {
				if !seen[pid] {
					seen[pid] = true
					out = append(out, pid)
				}
			}
			return err
		}, nil))
	}
	return out, errors.Join(errs...)
}

// readPids reads a list of processes in a folder; an absolute path is one by itself.
func readPids(dir int, path string) ([]int, error) {
	raw, err := readAt(dir, path)
	if err != nil {
		return nil, ignoreGone(err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(raw)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if pid > 0 { // 0: a process outside of our PID namespace
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// readAt reads the whole of a kernel's file.
func readAt(dir int, path string) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var all []byte
	for part := make([]byte, 4096); ; {
		n, err := retry(func() (int, error) { return unix.Read(fd, part) })
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return all, nil
		}
		all = append(all, part[:n]...)
	}
}

// writeAt writes to a file in a group.
func writeAt(group int, file, value string) error {
	fd, err := retry(func() (int, error) { return unix.Openat(group, file, unix.O_WRONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	_, err = retry(func() (int, error) { return unix.Write(fd, []byte(value)) })
	if err != nil {
		err = &os.PathError{Op: "write", Path: file, Err: err}
	}
	return errors.Join(err, unix.Close(fd))
}

// removeTries bounds how long Remove waits for groups that the kernel still empties.
const removeTries = 1000

// Remove takes the group and all below away in every hierarchy. It must hold no process. That there is none is no error.
func (g Group) Remove() error {
	var errs []error
	for _, root := range g.host.roots() {
		errs = append(errs, removeTree(filepath.Join(root, g.name)))
	}
	return errors.Join(errs...)
}

func removeTree(top string) error {
	// Most groups are gone by now, or have none below.
	switch err := unix.Rmdir(top); err {
	case nil, unix.ENOENT:
		return nil
	}
	err := walk(top, nil, removeGroup)
	if err == nil {
		err = removeGroup(unix.AT_FDCWD, top)
	}
	if err != nil {
		return fmt.Errorf("removing control group %s: %w", top, err)
	}
	return nil
}

func removeGroup(parent int, name string) error {
	for tries := 1; ; tries++ {
		err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		switch {
		case err == nil, err == unix.ENOENT:
			return nil
		case err != unix.EBUSY || tries == removeTries:
			return &os.PathError{Op: "rmdir", Path: name, Err: err}
		}
		<-time.After(pollEvery)
	}
}
