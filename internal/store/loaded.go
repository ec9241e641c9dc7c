package store

import (
	"log/slog"
	"os"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Loaded is told when all tables could be filled: only then is the store known to be worth the place of its last backup,
// and nobody waits any more for what a copy of all of it takes.
func (b *Bolt) Loaded() {
	b.dropMapped()
	b.writeMu.Lock()
	defer b.writeMu.Unlock()
	if b.backup && !b.closed {
		b.backup = false
		b.background.Go(b.refreshBackup)
	}
}

// refreshBackup refreshes the copy of a store that is known to be good.
func (b *Bolt) refreshBackup() {
	if err := b.Backup(b.path + ".bak"); err != nil {
		slog.Warn("cannot keep a backup of the store", "path", b.path, "err", err)
	}
}

// dropMapped gives back the pages of the file that reading all of it has mapped into this process. They would count as the
// daemon's memory for as long as it lives, while a commit needs only a few of them again; the kernel still has them cached.
func (b *Bolt) dropMapped() {
	info, err := os.Stat(b.path)
	if err == nil {
		err = guarded(func() error {
			return b.db.View(func(*bolt.Tx) error { // which keeps the file where it is mapped
				if _, _, errno := unix.Syscall(unix.SYS_MADVISE, b.db.Info().Data, uintptr(info.Size()), unix.MADV_DONTNEED); errno != 0 {
					return errno
				}
				return nil
			})
		})
	}
	if err != nil {
		slog.Debug("pages of the store stay mapped", "path", b.path, "err", err)
	}
}
