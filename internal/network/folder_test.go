package network

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/store"
)

// TestModesOfAFolder: dnsmasq reads its files as a user of its own, so a folder that only root may enter gives addresses to nobody who
// comes later; and what nobody else has to do with stays root's. That holds when a network is made, when its folder was lost, and when it gets another name.
func TestModesOfAFolder(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	looks := func(when, name string) {
		t.Helper()
		for file, want := range map[string]fs.FileMode{
			".": fs.ModeDir | 0o711, ownerFile: 0o644, "dnsmasq.hosts": fs.ModeDir | 0o755, "dnsmasq.conf": 0o644, "routes.json": 0o600,
		} {
			info, err := os.Lstat(filepath.Join(s.dir(name), file))
			if err != nil || info.Mode() != want {
				t.Errorf("%s, %s: %v, want %s", when, file, info, want)
			}
		}
	}
	must(t, s.Create(ctx, "default", post("brmode", map[string]string{"ipv4.address": "10.5.77.1/24", "ipv6.address": "none"})))
	looks("made", "brmode")
	r, _ := s.byInterface("brmode")
	must(t, bridge.Down(ctx, "brmode", r.UUID, s.dir("brmode")))
	must(t, os.RemoveAll(s.dir("brmode")))
	s = daemon(t, engine, dir)
	looks("lost", "brmode")
	must(t, s.Rename(ctx, "default", "brmode", api.NetworkPost{Name: "brmode2"}))
	looks("renamed", "brmode2")
	must(t, s.Delete(ctx, "default", "brmode2"))
}
