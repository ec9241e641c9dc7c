package faults

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hashOf is the SHA-256 of files one behind the other, as far as they are there.
func hashOf(paths ...string) string {
	sum := sha256.New()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			sum.Write(data)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// itsOwn are the files of a root file system that each instance writes by itself.
var itsOwn = []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}

// tree lists the files below a folder with their modes and contents, by name.
func tree(dir string) map[string]string {
	all := map[string]string{}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what is gone is missed
		}
		info, err := e.Info()
		name := strings.TrimPrefix(path, dir)
		if err != nil || slices.Contains(itsOwn, name) {
			return nil
		}
		what := info.Mode().String()
		switch {
		case e.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(path)
			what += " to " + target
		case e.Type().IsRegular():
			what += " " + hashOf(path)
		}
		all[name] = what
		return nil
	})
	return all
}

// content checks that an instance's folder, or that of a snapshot, has all that its image has, as it has it. What else there is, the
// guest made.
func (b *bench) content(point string, i instance, folder string) {
	d := b.d
	d.T.Helper()
	print := i.ExpandedConfig["volatile.base_image"]
	if b.images[print] == nil {
		var prepared map[string]string
		if copies, _ := filepath.Glob(filepath.Join(d.Dir, "storage-pools", "default", "images", print+"*", "rootfs")); len(copies) > 0 {
			prepared = tree(copies[0])
		}
		if len(prepared) == 0 {
			if get(d, "images/"+print, nil) {
				d.T.Errorf("%s: %s has no prepared copy in its pool", point, print)
			}
			return
		}
		if b.images == nil {
			b.images = map[string]map[string]string{}
		}
		b.images[print] = prepared
	}
	resolved, err := filepath.EvalSymlinks(filepath.Join(d.Dir, folder))
	if err != nil {
		d.T.Errorf("%s: %v", point, err)
		return
	}
	has := tree(filepath.Join(resolved, "rootfs"))
	var wrong []string
	for name, want := range b.images[print] {
		if has[name] != want {
			wrong = append(wrong, fmt.Sprintf("%s is %q instead of %q", name, has[name], want))
		}
	}
	if len(wrong) > 0 {
		d.T.Errorf("%s: of %d files in %s %d are not as in its image: %s", point, len(b.images[print]), folder, len(wrong), wrong[0])
	}
	counts.checks.Add(1)
}
