// Package storage holds the use-cases and rules of storage pools and their volumes.
package storage

// VolumeType is the kind of a volume, as the API names it.
type VolumeType string

// Volume types.
const (
	VolumeContainer VolumeType = "container"
	VolumeVM        VolumeType = "virtual-machine"
	VolumeCustom    VolumeType = "custom"
	VolumeImage     VolumeType = "image"
)

// VolumeID names one volume, or with Snapshot set, one snapshot of it.
type VolumeID struct {
	Pool     string     `json:"pool"`
	Project  string     `json:"project"` // empty for images
	Type     VolumeType `json:"type"`
	Name     string     `json:"name"` // instance name, volume name or fingerprint
	Snapshot string     `json:"snapshot,omitempty"`
}
