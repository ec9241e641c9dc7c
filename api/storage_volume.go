package api

import "time"

// StorageVolumesPost asks for a new custom volume.
type StorageVolumesPost struct {
	StorageVolumePut `yaml:",inline"`
	Name             string              `json:"name" yaml:"name"`
	Type             string              `json:"type" yaml:"type"`
	Source           StorageVolumeSource `json:"source" yaml:"source"`
	ContentType      string              `json:"content_type" yaml:"content_type"` // filesystem when empty
}

// StorageVolumeSource says what a new volume is made from.
type StorageVolumeSource struct {
	Name       string `json:"name" yaml:"name"` // volume, or volume/snapshot
	Type       string `json:"type" yaml:"type"` // copy, migration, or empty for an empty volume
	Pool       string `json:"pool" yaml:"pool"`
	Project    string `json:"project,omitempty" yaml:"project,omitempty"`
	VolumeOnly bool   `json:"volume_only" yaml:"volume_only"`
	Refresh    bool   `json:"refresh" yaml:"refresh"`
}

// StorageVolumePost renames or moves a volume.
type StorageVolumePost struct {
	Name       string `json:"name" yaml:"name"`
	Pool       string `json:"pool,omitempty" yaml:"pool,omitempty"`
	Project    string `json:"project,omitempty" yaml:"project,omitempty"`
	Migration  bool   `json:"migration" yaml:"migration"`
	VolumeOnly bool   `json:"volume_only" yaml:"volume_only"`
}

// StorageVolumeSnapshotPut is the part of a volume's snapshot that PUT and PATCH change.
type StorageVolumeSnapshotPut struct {
	Description string     `json:"description" yaml:"description"`
	ExpiresAt   *time.Time `json:"expires_at" yaml:"expires_at"`
}

// StorageVolumeSnapshotsPost asks for a snapshot of a volume; without a name the server makes one up.
type StorageVolumeSnapshotsPost struct {
	Name      string     `json:"name" yaml:"name"`
	ExpiresAt *time.Time `json:"expires_at" yaml:"expires_at"` // nil: as the volume's configuration says
}

// StorageVolumeSnapshotPost renames a snapshot.
type StorageVolumeSnapshotPost struct {
	Name string `json:"name" yaml:"name"`
}

// StorageVolumeSnapshot is a snapshot of a volume.
type StorageVolumeSnapshot struct {
	StorageVolumeSnapshotPut `yaml:",inline"`
	Name                     string            `json:"name" yaml:"name"`
	Config                   map[string]string `json:"config" yaml:"config"`
	ContentType              string            `json:"content_type" yaml:"content_type"`
	CreatedAt                time.Time         `json:"created_at" yaml:"created_at"`
}
