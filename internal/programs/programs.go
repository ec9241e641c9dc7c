// Package programs finds the programs that are installed beside the daemon.
package programs

import (
	"os"
	"path/filepath"
)

// Find is the path of one of our own programs: beside this one, or where it lies in an installation under any prefix, or in
// the usual ones; otherwise its bare name.
func Find(name string) string {
	dirs := []string{"/usr/local/libexec/berth", "/usr/libexec/berth", "/usr/local/lib/berth", "/usr/lib/berth", "/usr/local/bin", "/usr/bin"}
	if self, err := os.Executable(); err == nil {
		dir := filepath.Dir(self)
		dirs = append([]string{dir, filepath.Join(dir, "../libexec/berth")}, dirs...)
	}
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); executable(path) {
			return path
		}
	}
	return name
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
