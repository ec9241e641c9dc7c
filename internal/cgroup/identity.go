package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Identity is the attribute of a group's folder that holds the UUID of what the group was made for. Only root of the host, and of
// no user namespace, sees or changes attributes of the class "trusted".
const Identity = "trusted.berth.uuid"

// Folder is where a group lies in the hierarchy in which it bears its identity; empty on a host that has none that could.
func (g Group) Folder() string {
	if root := g.host.principal(); root != "" {
		return filepath.Join(root, g.name)
	}
	return ""
}

// Owner is the UUID that a group bears; "" if there is no group, if it bears none, or if the host lets it have none.
func (g Group) Owner() (string, error) {
	folder := g.Folder()
	if folder == "" {
		return "", nil
	}
	text := make([]byte, 64)
	n, err := unix.Getxattr(folder, Identity, text)
	switch {
	case err == nil:
		return string(text[:n]), nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTSUP):
		return "", nil
	}
	return "", fmt.Errorf("identity of control group %s: %w", folder, err)
}
