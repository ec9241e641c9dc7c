// Package loopfs gives a test a file system of its own, of a kind it names, on a loop device.
package loopfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// size is what mkfs.xfs wants at least, and some; the file that holds it is sparse.
const size = 512 << 20

// makers are the programs, with arguments, that make a file system on a file.
var makers = map[string][]string{
	"ext4":  {"mkfs.ext4", "-q", "-F"},
	"btrfs": {"mkfs.btrfs", "-q"},
	"xfs":   {"mkfs.xfs", "-q"},
}

// Kinds lists the kinds of file system there may be.
func Kinds() []string { return []string{"ext4", "btrfs", "xfs"} }

// Each runs a test on each kind of file system.
func Each(t *testing.T, run func(t *testing.T, kind, path string)) {
	for _, kind := range Kinds() {
		t.Run(kind, func(t *testing.T) { run(t, kind, Mount(t, kind)) })
	}
}

// Mount makes and mounts an empty file system until the test ends, and returns its top. The test is skipped, with the reason,
// where that cannot be done.
func Mount(t testing.TB, kind string) string {
	t.Helper()
	return makeDisk(t, kind, "").Path
}

func makeDisk(t testing.TB, kind, options string) *Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	mkfs := makers[kind]
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skipf("%s is missing", mkfs[0])
	}
	dir := t.TempDir()
	d := &Disk{Path: filepath.Join(dir, "mnt"), t: t, image: filepath.Join(dir, "image"), options: options}
	for _, err := range []error{os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, size), os.Mkdir(d.Path, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(mkfs[0], append(mkfs[1:len(mkfs):len(mkfs)], d.image)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", mkfs[0], err, out)
	}
	if err := d.mount(); err != nil {
		t.Skipf("%s cannot be mounted: %v", kind, err)
	}
	t.Cleanup(d.unmount)
	return d
}

// Disk is a file system whose power can fail.
type Disk struct {
	Path string // its top

	t              testing.TB
	image, options string
	device         string // the loop device that is mounted
}

// PowerDisk is Mount for a file system that can lose power. Of what is written to it only what was synced is sure to be there
// then: it writes nothing by itself while a test runs, and does not guess which files will be wanted whole.
func PowerDisk(t testing.TB) *Disk {
	t.Helper()
	return makeDisk(t, "ext4", "commit=600,noauto_da_alloc")
}

// mount mounts the disk on a loop device of its own, which goes with the mount.
func (d *Disk) mount() error {
	out, err := exec.Command("losetup", "--find", "--show", d.image).CombinedOutput()
	if err != nil {
		return fmt.Errorf("losetup: %w: %s", err, out)
	}
	d.device = strings.TrimSpace(string(out))
	args := []string{d.device, d.Path}
	if d.options != "" {
		args = append([]string{"-o", d.options}, args...)
	}
	out, err = exec.Command("mount", args...).CombinedOutput()
	if detached, derr := exec.Command("losetup", "--detach", d.device).CombinedOutput(); derr != nil {
		err, out = errors.Join(err, derr), append(out, detached...)
	}
	if err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

func (d *Disk) unmount() {
	if out, err := exec.Command("umount", d.Path).CombinedOutput(); err != nil {
		d.t.Errorf("umount %s: %v: %s", d.Path, err, out)
	}
}

// Requests and flags of ext4's shutdown (EXT4_IOC_SHUTDOWN, fs/ext4/ext4.h), which its own developers test with.
const (
	shutdown   = 0x8004587d
	noLogFlush = 2 // what is in the journal's memory is lost, too
)

// PowerCut loses all that was not synced, as the end of the power does, and comes back with the rest. Files that were open
// must be closed when closeFiles, if given, returns.
func (d *Disk) PowerCut(closeFiles func()) {
	d.t.Helper()
	top, err := os.Open(d.Path)
	if err != nil {
		d.t.Fatal(err)
	}
	err = unix.IoctlSetPointerInt(int(top.Fd()), shutdown, noLogFlush)
	_ = top.Close()
	if err != nil {
		d.t.Skip("this kernel does not shut ext4 down: ", err)
	}
	if closeFiles != nil {
		closeFiles()
	}
	// Whoever has copied the mount meanwhile keeps the dead file system, so it comes back on another device. What the old one has to
	// write of what was synced it writes before.
	old, err := os.Open(d.device)
	if err == nil {
		err = errors.Join(old.Sync(), old.Close())
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.unmount()
	if err := d.mount(); err != nil {
		d.t.Fatalf("after the power came back: %v", err)
	}
}

// SyncOther makes what the file system has in its journal last, and no file's content: what a busy host does all the time, as the
// sync of one file takes along the names and sizes of all.
func (d *Disk) SyncOther() {
	d.t.Helper()
	f, err := os.CreateTemp(d.Path, "other")
	if err == nil {
		_, err = f.WriteString("x")
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	_, _ = f.Close(), os.Remove(f.Name())
}
