package loopfs

import (
	"os"
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
