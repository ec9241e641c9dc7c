package loopfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestAPowerCutLosesWhatWasNotSynced(t *testing.T) {
	d := PowerDisk(t)
	synced, unsynced := filepath.Join(d.Path, "synced"), filepath.Join(d.Path, "unsynced")
	for _, path := range []string{synced, unsynced} {
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(synced)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	late := filepath.Join(d.Path, "late")
	if err := os.Mkdir(late, 0o700); err != nil {
		t.Fatal(err)
	}
	d.PowerCut(func() { _ = f.Close() })
	if got, err := os.ReadFile(synced); err != nil || string(got) != "text" {
		t.Errorf("what was synced: %q, %v", got, err)
	}
	if got, err := os.ReadFile(unsynced); err != nil || len(got) > 0 { // the name went along
		t.Errorf("what was not synced: %q, %v", got, err)
	}
	if _, err := os.Stat(late); !os.IsNotExist(err) {
		t.Errorf("a folder made after the last sync: %v", err)
	}
	d.SyncOther()
	d.PowerCut(nil)
}

// TestADeadFileSystemThatSomebodyHolds does not come back: others of the host copy its mount when they make a mount namespace.
func TestADeadFileSystemThatSomebodyHolds(t *testing.T) {
	d := PowerDisk(t)
	path := filepath.Join(d.Path, "f")
	for range 3 {
		holder := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; cat")
		in, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := holder.StdoutPipe()
		if err == nil {
			err = holder.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1)) // it has its namespace
		defer func() { _, _ = in.Close(), holder.Wait() }()
		d.PowerCut(nil)
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		d.SyncOther()
	}
}
