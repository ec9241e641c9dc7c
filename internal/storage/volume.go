// Package storage holds the use-cases and rules of storage pools and their volumes.
package storage

import (
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/project"
)

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
	Name     string     `json:"name"` // instance name, volume name, or what an image's prepared copy goes by
	Snapshot string     `json:"snapshot,omitempty"`
	// UUID is the identity that stands on the volume itself; it is no part of its name, and empty where none is known.
	UUID string `json:"uuid,omitempty"`
}

// diskName is the volume's name in its pool: prefixed with the project outside the default project, and always
// for custom volumes, as LXD has it.
func (v VolumeID) diskName() string {
	switch {
	case v.Type == VolumeImage:
		return v.Name
	case v.Type == VolumeCustom && v.Project == "":
		return "default_" + v.Name
	case v.Type == VolumeCustom, v.Project != "" && v.Project != "default":
		return v.Project + "_" + v.Name
	}
	return v.Name
}

// onDisk is the volume as drivers know it.
func (v VolumeID) onDisk() storagedriver.Volume {
	kinds := map[VolumeType]storagedriver.Kind{
		VolumeContainer: storagedriver.Containers, VolumeVM: storagedriver.VirtualMachines,
		VolumeCustom: storagedriver.Custom, VolumeImage: storagedriver.Images,
	}
	return storagedriver.Volume{Kind: kinds[v.Type], Name: v.diskName(), Snapshot: v.Snapshot, UUID: v.UUID}
}

// of is the volume that a snapshot belongs to.
func (v VolumeID) of() VolumeID {
	v.Snapshot, v.UUID = "", ""
	return v
}

// named is v without its identity: a name to compare with others.
func (v VolumeID) named() VolumeID {
	v.UUID = ""
	return v
}

// path is where the volume stands in the table of volumes.
func (v VolumeID) path() []string {
	project := v.Project
	if project == "" {
		project = "default"
	}
	path := []string{v.Pool, project, string(v.Type), v.Name}
	if v.Snapshot != "" {
		path = append(path, v.Snapshot)
	}
	return path
}

func idOf(path []string) VolumeID {
	v := VolumeID{Pool: path[0], Project: path[1], Type: VolumeType(path[2]), Name: path[3]}
	if len(path) > 4 {
		v.Snapshot = path[4]
	}
	return v
}

// URL is where the API shows the volume.
func (v VolumeID) URL() string {
	return v.under("storage-pools", v.Pool, "volumes", string(v.Type), v.Name)
}

// instanceURL is the instance, or snapshot of one, that a volume is the root of.
func instanceURL(v VolumeID) string { return v.under("instances", v.Name) }

// under is the URL of a path, and of the snapshot there if the volume is one.
func (v VolumeID) under(path ...string) string {
	if v.Snapshot != "" {
		path = append(path, "snapshots", v.Snapshot)
	}
	return project.URL(v.Project, path...)
}
