package cgroup

import "path/filepath"

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
	if err := write(filepath.Join(top, "devices.allow"), rule); err != nil {
		return true, err
	}
	return true, walk(top, func(group int) error {
		return ignoreGone(writeAt(group, "devices.allow", rule)) // one below, which is the guest's own, may have just gone
	}, nil)
}
