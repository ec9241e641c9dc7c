package network

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/store"
)

type access struct {
	Mode     fs.FileMode
	UID, GID uint32
}

// accesses tells who may do what with a folder and with all in it.
func accesses(t *testing.T, dir string) map[string]access {
	t.Helper()
	found := map[string]access{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		stat := info.Sys().(*syscall.Stat_t)
		found[name] = access{info.Mode(), stat.Uid, stat.Gid}
		return err
	}))
	return found
}

// TestALostFolderComesBackAsItWas: dnsmasq reads its files as a user of its own, so a folder that only root may enter gives addresses to
// nobody who comes later.
func TestALostFolderComesBackAsItWas(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	must(t, s.Create(ctx, "default", post("brlost", map[string]string{"ipv4.address": "10.5.77.1/24", "ipv6.address": "none"})))
	r, _ := s.byInterface("brlost")
	before := accesses(t, s.dir("brlost"))
	if before["."].Mode.Perm() != 0o711 || before[ownerFile].Mode.Perm() != 0o644 || len(before) < 4 {
		t.Errorf("as it was made: %v", before)
	}
	must(t, bridge.Down(ctx, "brlost", r.UUID, s.dir("brlost")))
	must(t, os.RemoveAll(s.dir("brlost")))
	s = daemon(t, engine, dir)
	if after := accesses(t, s.dir("brlost")); !maps.Equal(before, after) || s.status(r) != "Created" {
		t.Errorf("made as %v, back as %v, %s", before, after, s.status(r))
	}
	must(t, s.Rename(ctx, "default", "brlost", api.NetworkPost{Name: "brfound"}))
	if after := accesses(t, s.dir("brfound")); !maps.Equal(before, after) {
		t.Errorf("made as %v, by its new name %v", before, after)
	}
	must(t, s.Delete(ctx, "default", "brfound"))
}
