package daemon

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// layout is the daemon's folders. What instances' root users must walk through is 0711, what holds secrets or what only
// the daemon reads is 0700.
var layout = []struct {
	path string
	mode fs.FileMode
}{
	{"", 0o711},
	{"backups", 0o700},
	{"backups/custom", 0o700},
	{"backups/instances", 0o700},
	{"cache", 0o700},
	{"containers", 0o711},
	{"database", 0o700},
	{"devices", 0o711},
	{"devlxd", 0o755},
	{"disks", 0o700},
	{"images", 0o700},
	{"logs", 0o700},
	{"networks", 0o711},
	{"security", 0o700},
	{"security/apparmor", 0o700},
	{"security/apparmor/cache", 0o700},
	{"security/apparmor/profiles", 0o700},
	{"security/seccomp", 0o700},
	{"shmounts", 0o711},
	{"snapshots", 0o700},
	{"storage-pools", 0o711},
	{"virtual-machines", 0o711},
	{"virtual-machines-snapshots", 0o700},
}

// makeLayout makes the folders that are missing and sets the modes of all.
func makeLayout(root string) error {
	for _, d := range layout {
		path := filepath.Join(root, d.path)
		if err := os.MkdirAll(path, d.mode); err != nil {
			return fmt.Errorf("make the daemon's folders: %w", err)
		}
		if err := os.Chmod(path, d.mode); err != nil {
			return fmt.Errorf("make the daemon's folders: %w", err)
		}
	}
	return nil
}
