package securefs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const base, span = 1_000_000, 65536

// TestMain is also the guest: a process in a user and mount namespace of its own, with a tmpfs.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SECUREFS_GUEST"); dir != "" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			fmt.Println("mount:", err)
			os.Exit(1)
		}
		fmt.Println("ready")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// guest starts a process in a user namespace with IDs from base, and returns its PID.
func guest(t *testing.T, dir string) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SECUREFS_GUEST="+dir)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: span}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{}}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("needs root and user namespaces: ", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the guest says %q", line)
	}
	return cmd.Process.Pid
}

// idmapped binds dir at a new place, seen through the ID map of a process's user namespace.
func idmapped(t *testing.T, dir string, pid int) string {
	t.Helper()
	userns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer userns.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Skip("needs open_tree: ", err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		t.Skip("needs idmapped mounts on this file system: ", err)
	}
	at := t.TempDir()
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return at
}

func TestAsThroughAnIdmappedMount(t *testing.T) {
	disk := t.TempDir()
	r, err := Open(idmapped(t, disk, guest(t, "/mnt")))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Create("plain", Owner{base, base}, 0o600); !errors.Is(err, unix.EOVERFLOW) {
		t.Errorf("the host's root makes a file that no ID in the guest could own: %v", err)
	}
	err = As(base, base, func() error {
		f, err := r.Create("file", Owner{base + 7, base + 8}, 0o4640)
		if err != nil {
			return err
		}
		return errors.Join(f.Close(), r.Mkdir("dir", Owner{base + 1000, base}, 0o700),
			r.MkdirAll("dir/in/side", Owner{base, base}, 0o750), r.Symlink("/x", "dir/link", Owner{base + 5, base + 5}))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Owner{"file": {7, 8}, "dir": {1000, 0}, "dir/in/side": {0, 0}, "dir/link": {5, 5}} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(disk, name), &st); err != nil || int(st.Uid) != want.UID || int(st.Gid) != want.GID {
			t.Errorf("on disk %s: %d:%d %v", name, st.Uid, st.Gid, err)
		}
		if info, err := r.Lstat(name); err != nil || info.UID != base+want.UID {
			t.Errorf("through the mount %s: %d %v", name, info.UID, err)
		}
	}
	err = As(base, base, func() error {
		_, err := r.Create("out", Owner{5, 5}, 0o600)
		return err
	})
	if err == nil {
		t.Error("an owner outside the map was accepted")
	}
	if err := As(base+3, base+3, func() error { return r.Remove("file") }); err != nil {
		t.Errorf("capabilities are not kept: %v", err)
	}
}

func TestAsOnATmpfsOfTheGuest(t *testing.T) {
	const dir = "/mnt" // covered in the guest's mount namespace only
	pid := guest(t, dir)
	r, err := Open(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = As(base, base, func() error {
		f, err := r.Create(filepath.Join(dir, "f"), Owner{base, base + 4}, 0o600)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := r.Stat(filepath.Join(dir, "f")); err != nil || info.UID != base || info.GID != base+4 {
		t.Errorf("%+v %v", info, err)
	}
}

func TestAsLeavesNoTrace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir := t.TempDir()
	for i := range 50 {
		if err := As(base, base, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic is lost")
				}
			}()
			_ = As(base, base, func() error { panic("boom") })
		}()
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Uid != 0 || st.Gid != 0 {
			t.Fatalf("made by %d:%d %v", st.Uid, st.Gid, err)
		}
	}
	if err := As(-2, 0, func() error { return nil }); err == nil {
		t.Error("an ID that is none was accepted")
	}
}
