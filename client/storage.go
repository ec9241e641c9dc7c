package client

import (
	"net/http"

	"github.com/berthd/berth/api"
)

// StoragePools lists the storage pools.
func (c *Client) StoragePools() ([]api.StoragePool, error) {
	return list[api.StoragePool](c, pathOf("storage-pools")+"?recursion=1")
}

// StoragePool fetches one pool.
func (c *Client) StoragePool(name string) (*api.StoragePool, string, error) {
	return get[api.StoragePool](c, pathOf("storage-pools", name))
}

// StoragePoolResources fetches the use of a pool.
func (c *Client) StoragePoolResources(name string) (*api.StoragePoolResources, error) {
	res, _, err := get[api.StoragePoolResources](c, pathOf("storage-pools", name, "resources"))
	return res, err
}

// CreateStoragePool makes a pool.
func (c *Client) CreateStoragePool(post api.StoragePoolsPost) error {
	return c.send(http.MethodPost, pathOf("storage-pools"), post, "")
}

// UpdateStoragePool replaces a pool's configuration.
func (c *Client) UpdateStoragePool(name string, put api.StoragePoolPut, etag string) error {
	return c.send(http.MethodPut, pathOf("storage-pools", name), put, etag)
}

// DeleteStoragePool deletes an unused pool.
func (c *Client) DeleteStoragePool(name string) error {
	return c.send(http.MethodDelete, pathOf("storage-pools", name), nil, "")
}

// StorageVolumes lists the volumes of a pool.
func (c *Client) StorageVolumes(pool string) ([]api.StorageVolume, error) {
	return list[api.StorageVolume](c, pathOf("storage-pools", pool, "volumes")+"?recursion=1")
}

// StorageVolume fetches one volume. The kind is container, virtual-machine, custom or image.
func (c *Client) StorageVolume(pool, kind, name string) (*api.StorageVolume, string, error) {
	return get[api.StorageVolume](c, pathOf("storage-pools", pool, "volumes", kind, name))
}

// StorageVolumeState fetches the use of a volume.
func (c *Client) StorageVolumeState(pool, kind, name string) (*api.StorageVolumeState, error) {
	state, _, err := get[api.StorageVolumeState](c, pathOf("storage-pools", pool, "volumes", kind, name, "state"))
	return state, err
}

// UpdateStorageVolume replaces a volume's configuration.
func (c *Client) UpdateStorageVolume(pool, kind, name string, put api.StorageVolumePut, etag string) error {
	return c.send(http.MethodPut, pathOf("storage-pools", pool, "volumes", kind, name), put, etag)
}

// DeleteStorageVolume deletes a volume.
func (c *Client) DeleteStorageVolume(pool, kind, name string) error {
	return c.send(http.MethodDelete, pathOf("storage-pools", pool, "volumes", kind, name), nil, "")
}
