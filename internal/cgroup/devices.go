package cgroup

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// Device changes the device rules of a group of version 1 and of all below: "c 10:200 rwm". It tells whether there are such
// rules; those of version 2 are programs, and liblxc's.
func (g Group) Device(rule string, allow bool) (bool, error) {
	root := g.host.v1["devices"]
	if root == "" {
		return false, nil
	}
	top := filepath.Join(root, g.name)
	if !allow { // the kernel takes it from all below
		return true, write(filepath.Join(top, "devices.deny"), rule)
	}
	return true, filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return ignoreBelow(path, top, err)
		}
		return ignoreBelow(path, top, write(filepath.Join(path, "devices.allow"), rule))
	})
}

// ignoreBelow drops that a group below, which is the guest's own, has just gone.
func ignoreBelow(path, top string, err error) error {
	if path != top && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
