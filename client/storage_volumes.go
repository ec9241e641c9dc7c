package client

import (
	"net/http"

	"github.com/berthd/berth/api"
)

func volumePath(pool, name string, more ...string) string {
	return pathOf(append([]string{"storage-pools", pool, "volumes", "custom", name}, more...)...)
}

// StorageVolumesAllProjects lists the volumes of a pool in every project.
func (c *Client) StorageVolumesAllProjects(pool string) ([]api.StorageVolume, error) {
	return list[api.StorageVolume](c, pathOf("storage-pools", pool, "volumes")+"?recursion=1&all-projects=true")
}

// CreateStorageVolume makes an empty custom volume.
func (c *Client) CreateStorageVolume(pool string, post api.StorageVolumesPost) error {
	return c.send(http.MethodPost, pathOf("storage-pools", pool, "volumes", post.Type), post, "")
}

// CopyStorageVolume makes a custom volume from another one of the same server: post.Source names it.
func (c *Client) CopyStorageVolume(pool string, post api.StorageVolumesPost) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("storage-pools", pool, "volumes", post.Type), post, "")
}

// RenameStorageVolume renames a custom volume within its pool and project.
func (c *Client) RenameStorageVolume(pool, name, newName string) error {
	return c.send(http.MethodPost, volumePath(pool, name), api.StorageVolumePost{Name: newName}, "")
}

// MoveStorageVolume moves a custom volume to another pool or project of the same server.
func (c *Client) MoveStorageVolume(pool, name string, post api.StorageVolumePost) (*Operation, error) {
	return c.start(http.MethodPost, volumePath(pool, name), post, "")
}

// StorageVolumeSnapshot fetches a snapshot of a volume; kind is the volume's: custom, container or virtual-machine.
func (c *Client) StorageVolumeSnapshot(pool, kind, name, snapshot string) (*api.StorageVolumeSnapshot, string, error) {
	return get[api.StorageVolumeSnapshot](c, pathOf("storage-pools", pool, "volumes", kind, name, "snapshots", snapshot))
}

// CreateStorageVolumeSnapshot makes a snapshot of a custom volume.
func (c *Client) CreateStorageVolumeSnapshot(pool, name string, post api.StorageVolumeSnapshotsPost) (*Operation, error) {
	return c.start(http.MethodPost, volumePath(pool, name, "snapshots"), post, "")
}

// RenameStorageVolumeSnapshot renames a snapshot of a custom volume.
func (c *Client) RenameStorageVolumeSnapshot(pool, name, snapshot, newName string) (*Operation, error) {
	return c.start(http.MethodPost, volumePath(pool, name, "snapshots", snapshot), api.StorageVolumeSnapshotPost{Name: newName}, "")
}

// UpdateStorageVolumeSnapshot changes a snapshot's description and expiry.
func (c *Client) UpdateStorageVolumeSnapshot(pool, kind, name, snapshot string, put api.StorageVolumeSnapshotPut, etag string) error {
	return c.send(http.MethodPut, pathOf("storage-pools", pool, "volumes", kind, name, "snapshots", snapshot), put, etag)
}

// DeleteStorageVolumeSnapshot deletes a snapshot of a custom volume.
func (c *Client) DeleteStorageVolumeSnapshot(pool, name, snapshot string) (*Operation, error) {
	return c.start(http.MethodDelete, volumePath(pool, name, "snapshots", snapshot), nil, "")
}
