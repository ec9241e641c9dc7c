package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// realGroup makes a group of the machine's own in every hierarchy, and takes it away at the end.
func realGroup(t *testing.T) Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	g := h.Group("berth-test-" + strings.ToLower(t.Name()) + "-" + strconv.Itoa(os.Getpid()))
	t.Cleanup(func() {
		if err := g.Remove(); err != nil || g.Exists() {
			t.Errorf("left: %v", err)
		}
	})
	for _, root := range h.roots() {
		if err := os.Mkdir(filepath.Join(root, g.name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// nest makes groups one in the other, beneath one in the hierarchy of folder, and returns the innermost.
func nest(t *testing.T, folder string, depth int) int {
	t.Helper()
	at, err := openGroup(unix.AT_FDCWD, folder)
	for range depth {
		name := strings.Repeat("n", 190)
		if err == nil {
			err = unix.Mkdirat(at, name, 0o755)
		}
		if err == nil {
			to, failed := openGroup(at, name)
			_ = unix.Close(at)
			at, err = to, failed
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(at) })
	return at
}

// sleeper is a process that only a signal ends.
func sleeper(t *testing.T) (pid int, ended <-chan struct{}) {
	t.Helper()
	sleep := exec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = sleep.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = sleep.Process.Kill()
		<-done
	})
	return sleep.Process.Pid, done
}

// TestDeepControlGroupsAreRemoved: a guest that nested groups until no path could name them was never cleaned up after, and neither started
// again nor made room for another of its name.
func TestDeepControlGroupsAreRemoved(t *testing.T) {
	g := realGroup(t)
	folder := g.Folder()
	if root := g.host.v1["freezer"]; root != "" { // where a guest did it
		folder = filepath.Join(root, g.name)
	}
	innermost := nest(t, folder, 40)
	pid, ended := sleeper(t)
	if err := writeAt(innermost, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.Procs(); err != nil || !slices.Equal(pids, []int{pid}) {
		t.Error(pids, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := g.Remove(); err != nil || g.Exists() {
		t.Error(err)
	}
}

// TestFrozenGroupsBelowAreKilled: in v1 what a guest had frozen in a group of its own did not die, however often it was told to.
func TestFrozenGroupsBelowAreKilled(t *testing.T) {
	g := realGroup(t)
	root, v2 := g.host.dir("freezer")
	file, state := "freezer.state", "FROZEN"
	if v2 {
		file, state = "cgroup.freeze", "1"
	}
	var all []<-chan struct{}
	for _, name := range []string{"a", "b"} {
		group := filepath.Join(root, g.name, name)
		if err := os.MkdirAll(filepath.Join(group, "c"), 0o755); err != nil {
			t.Fatal(err)
		}
		pid, ended := sleeper(t)
		all = append(all, ended)
		for _, err := range []error{
			write(filepath.Join(group, "c", "cgroup.procs"), strconv.Itoa(pid)),
			write(filepath.Join(group, "c", file), state),
			write(filepath.Join(group, file), state),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		for _, group := range []string{"a", "a/c", "b", "b/c"} {
			_ = write(filepath.Join(root, g.name, group, file), "THAWED")
		}
		t.Fatal(err)
	}
	for _, ended := range all {
		<-ended
	}
}

// TestWalkWhileGroupsGo: a guest takes groups away while they are walked through, the one included that the walk is in.
func TestWalkWhileGroupsGo(t *testing.T) {
	g := realGroup(t)
	for _, root := range g.host.roots() {
		top := filepath.Join(root, g.name)
		for _, below := range []string{"a/b/c", "d", "e/f"} {
			if err := os.MkdirAll(filepath.Join(top, below), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		visits := 0
		err := walk(top, func(int) error {
			visits++
			return nil
		}, nil)
		if err != nil || visits != 7 {
			t.Errorf("%s: %d groups, %v", root, visits, err)
		}
		visits = 0
		err = walk(top, func(int) error {
			if visits++; visits == 3 { // two below the top: it goes, and what it is in
				return removeBelow(top)
			}
			return nil
		}, nil)
		if err != nil || visits != 3 {
			t.Errorf("%s: %d groups, %v", root, visits, err)
		}
	}
	if err := walk(filepath.Join(g.host.roots()[0], g.name, "none"), nil, nil); err != nil {
		t.Error(err)
	}
}

func removeBelow(top string) error {
	entries, err := os.ReadDir(top)
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(top, e.Name())))
		}
	}
	return err
}

// TestDeviceRulesReachDeepGroups: a guest with such groups was given no device any more.
func TestDeviceRulesReachDeepGroups(t *testing.T) {
	g := realGroup(t)
	root := g.host.v1["devices"]
	if root == "" {
		t.Skip("this host has no control groups for devices of version 1")
	}
	if _, err := g.Device("a", false); err != nil {
		t.Fatal(err)
	}
	innermost := nest(t, filepath.Join(root, g.name), 30)
	if _, err := g.Device("c 1:9 r", true); err != nil {
		t.Fatal(err)
	}
	if raw, err := readAt(innermost, "devices.list"); err != nil || strings.TrimSpace(string(raw)) != "c 1:9 r" {
		t.Errorf("%q, %v", raw, err)
	}
}
