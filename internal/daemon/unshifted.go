package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/idmap"
)

// unshifted answers whether a pool's files can be seen through ID maps. What a file system can do does not change:
// each is asked once.
func (d *Daemon) unshifted() func(pool string) bool {
	if config.IsTrue(os.Getenv("BERTH_IDMAPPED_MOUNTS_DISABLE")) {
		slog.Warn("Idmapped mounts are not used: BERTH_IDMAPPED_MOUNTS_DISABLE is set")
		return func(string) bool { return false }
	}
	var mu sync.Mutex
	known := map[uint64]bool{} // by device number
	return func(pool string) bool {
		dir := filepath.Join(d.Root, "storage-pools", pool)
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			slog.Error("Pool cannot be looked at", "pool", pool, "err", err)
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if can, ok := known[st.Dev]; ok {
			return can
		}
		err := idmap.Supported(dir)
		if err != nil {
			slog.Warn("Owners of files are shifted: the file system does not do idmapped mounts", "pool", pool, "err", err)
		}
		known[st.Dev] = err == nil
		return err == nil
	}
}
