package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/store"
)

func linkTo(t *testing.T, file string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	return link
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// TestABackupGoesWhereItIsSent: a device became a file, and a link one of its own.
func TestABackupGoesWhereItIsSent(t *testing.T) {
	path := filled(t, 20)
	null := filepath.Join(t.TempDir(), "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := store.BackupFile(path, null); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(null); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		t.Errorf("the device is %v, %v", info.Mode(), err)
	}
	file := filepath.Join(t.TempDir(), "file")
	link := linkTo(t, file)
	if err := store.BackupFile(path, link); err != nil || !isLink(link) {
		t.Errorf("%v, link: %v", err, isLink(link))
	}
	if report, err := store.CheckFile(file); err != nil || report.Tables["things"] != 20 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestABackupComesWholeThroughAPipe(t *testing.T) {
	path := filled(t, 20)
	pipe, out := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "out")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	copied := make(chan error, 1)
	go func() {
		data, err := os.ReadFile(pipe)
		copied <- errors.Join(err, os.WriteFile(out, data, 0o600))
	}()
	if err := store.BackupFile(path, pipe); err != nil {
		t.Fatal(err)
	}
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	if report, err := store.CheckFile(out); err != nil || report.Tables["things"] != 20 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestABackupOntoTheStoreItselfIsRefused: the daemon would go on with a file that has no name any more.
func TestABackupOntoTheStoreItselfIsRefused(t *testing.T) {
	path := filled(t, 3)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{path, linkTo(t, path)} {
		if err := store.BackupFile(path, target); err == nil || !strings.Contains(err.Error(), "is the store itself") {
			t.Errorf("%s: %v", target, err)
		}
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(before, now) {
		t.Errorf("the store is another file now: %v", err)
	}
}

// TestARestoreFollowsALink: the file got the place of the link, and the store that the link leads to stayed as it was, whoever used it.
func TestARestoreFollowsALink(t *testing.T) {
	backup, path := filled(t, 30), filled(t, 5)
	link := linkTo(t, path)
	for _, held := range []string{path, link} {
		s := open(t, held)
		if err := store.RestoreFile(backup, link); !errors.Is(err, store.ErrLocked) {
			t.Errorf("a daemon uses %s: %v", held, err)
		}
		_ = s.Close()
	}
	if err := store.RestoreFile(backup, link); err != nil || !isLink(link) {
		t.Fatalf("%v, link: %v", err, isLink(link))
	}
	for file, want := range map[string]int{path: 30, path + ".before-restore": 5} {
		if report, err := store.CheckFile(file); err != nil || report.Tables["things"] != want {
			t.Errorf("%s: %+v %v", file, report, err)
		}
	}
	null := filepath.Join(t.TempDir(), "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := store.RestoreFile(backup, null); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("onto a device: %v", err)
	}
	if err := store.RestoreFile(backup, linkTo(t, filepath.Join(t.TempDir(), "none"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("onto a link that leads nowhere: %v", err)
	}
}
