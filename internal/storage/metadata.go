package storage

import "github.com/berthd/berth/internal/config"

// PoolKeys is the configuration of a pool.
func PoolKeys() *config.Table { return poolKeys }

// VolumeKeys is the configuration of a custom volume.
func VolumeKeys() *config.Table { return volumeTable }
