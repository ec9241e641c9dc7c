package storage

import (
	"context"
	"errors"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// contentFilesystem is the content of every volume there is so far.
const contentFilesystem = "filesystem"

// volumeRecord is what the store keeps of a volume or snapshot.
type volumeRecord struct {
	Description string            `json:"description,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"` // of a snapshot
	// UUID is the identity of a custom volume or a snapshot of one. Those of instances follow from the instance.
	UUID string `json:"uuid,omitempty"`
}

// ParseVolumeType checks a type as the API names it.
func ParseVolumeType(name string) (VolumeType, error) {
	switch t := VolumeType(name); t {
	case VolumeContainer, VolumeVM, VolumeCustom, VolumeImage:
		return t, nil
	}
	return "", api.BadRequest("Invalid storage volume type name")
}

// Projects is what volumes need of projects; *project.Service implements it.
type Projects interface {
	project.Homes
	Check(name string) error
	Allows(name string, needs ...project.Need) error
	Admit(ctx context.Context, action, name string, change project.Contents) (release func(), err error)
	Hold(ctx context.Context, action, name string) (context.Context, func(), error)
}

// ID is the volume, or snapshot of one, that a request in a project means. Custom volumes may be the default project's.
func (s *Service) ID(pool, project string, kind VolumeType, name, snapshot string) VolumeID {
	return VolumeID{Pool: pool, Project: s.homeOf(kind, project), Type: kind, Name: name, Snapshot: snapshot}
}

func (s *Service) custom(pool, project, name string) VolumeID {
	return s.ID(pool, project, VolumeCustom, name, "")
}

// homeOf is the project that a project's volumes of a type are in; of all projects, "", all.
func (s *Service) homeOf(kind VolumeType, name string) string {
	if kind != VolumeCustom || name == "" {
		return name
	}
	return s.Projects.Effective(project.Volumes, name)
}

// homeFor is the project that whoever makes a custom volume in a project makes it in.
func homeFor(ctx context.Context, in project.Homes, name string) (string, error) {
	return project.Home(ctx, in, access.StorageVolume, name, access.CanCreateVolumes, "")
}

// admit asks the limits of its project whether a custom volume may be as it is about to be; all else is no volume of its own.
func (s *Service) admit(ctx context.Context, action string, id VolumeID, config map[string]string) (release func(), err error) {
	if id.Type != VolumeCustom || id.Snapshot != "" {
		return func() {}, nil
	}
	v := project.Volume{Pool: id.Pool, Name: id.Name, Size: config["size"]}
	return s.Projects.Admit(ctx, action, id.Project, project.Contents{Volumes: []project.Volume{v}})
}

// Contents lists a project's own custom volumes for its limits.
func (s *Service) Contents(name string) []project.Volume {
	var all []project.Volume
	for _, id := range s.CustomVolumes(name) {
		if row, ok := s.volumes.Get(id.path()...); ok {
			all = append(all, project.Volume{Pool: id.Pool, Name: id.Name, Size: row.Value.Config["size"]})
		}
	}
	return all
}

// VolumeList lists a pool's volumes and snapshots, those of a type if one is given, those of a project unless it
// is empty. Images belong to every project.
func (s *Service) VolumeList(pool, project string, kind VolumeType) ([]api.StorageVolume, error) {
	if _, ok := s.pools.Get(pool); !ok {
		return nil, errNoPool()
	}
	list := []api.StorageVolume{}
	home := s.homeOf(VolumeCustom, project)
	for _, row := range s.volumes.List(pool) {
		id := idOf(row.Path)
		of := project
		if id.Type == VolumeCustom {
			of = home
		}
		if kind != "" && id.Type != kind || project != "" && id.Project != of && id.Type != VolumeImage {
			continue
		}
		list = append(list, s.showVolume(id, row.Value))
	}
	return list, nil
}

// Volume shows one volume.
func (s *Service) Volume(id VolumeID) (*api.StorageVolume, store.Revision, error) {
	if _, ok := s.pools.Get(id.Pool); !ok {
		return nil, 0, errNoPool()
	}
	row, ok := s.volumes.Get(id.path()...)
	if !ok {
		return nil, 0, errNoVolume()
	}
	v := s.showVolume(id, row.Value)
	return &v, row.Revision, nil
}

// UUID is what tells a custom volume from another that has its name later; "" for those of instances.
func (s *Service) UUID(id VolumeID) (uuid string, ok bool) {
	row, ok := s.volumes.Get(id.path()...)
	if !ok {
		return "", false
	}
	return row.Value.UUID, true
}

func (s *Service) showVolume(id VolumeID, r *volumeRecord) api.StorageVolume {
	name := id.Name
	if id.Snapshot != "" {
		name += "/" + id.Snapshot
	}
	return api.StorageVolume{
		StorageVolumePut: api.StorageVolumePut{Config: merge(r.Config, nil), Description: r.Description},
		Name:             name, Type: string(id.Type), UsedBy: s.volumeUsers(id), Location: "none",
		ContentType: contentFilesystem, Project: id.Project,
	}
}

// volumeUsers lists what a volume is used by; never nil.
func (s *Service) volumeUsers(id VolumeID) []string {
	switch {
	case id.Type == VolumeContainer || id.Type == VolumeVM:
		return []string{instanceURL(id)}
	case id.Type == VolumeImage:
		return []string{"/1.0/images/" + id.Name}
	case s.UsersOfVolume == nil || id.Snapshot != "":
		return []string{}
	}
	return append([]string{}, s.UsersOfVolume(id)...)
}

// VolumeUsage tells what a volume takes.
func (s *Service) VolumeUsage(ctx context.Context, id VolumeID) (*api.StorageVolumeState, error) {
	if _, _, err := s.Volume(id); err != nil {
		return nil, err
	}
	n, err := bounded.Do(ctx, &s.probes, id.Pool, probeTime, func() (int64, error) { return s.Usage(ctx, id) })
	if errors.Is(err, bounded.ErrHung) {
		return nil, api.Unavailable("Storage pool %q unavailable: %w", id.Pool, err)
	}
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, errors.New("Not supported")
	}
	return &api.StorageVolumeState{Usage: &api.StorageVolumeStateUsage{Used: uint64(n)}}, nil
}

// UpdateVolume changes a volume's configuration and description, or with Restore set, goes back to a snapshot.
func (s *Service) UpdateVolume(ctx context.Context, id VolumeID, put api.StorageVolumePut, patch bool, check func(store.Revision) error) (err error) {
	if id.Type == VolumeImage || patch && id.Type != VolumeCustom {
		return api.BadRequest("Invalid storage volume type %q", id.Type)
	}
	release, err := s.holdSettled(ctx, "update", id, lock.Exclusive(id.Object()))
	if err != nil {
		return err
	}
	defer release()
	if _, ok := s.pools.Get(id.Pool); !ok {
		return errNoPool()
	}
	row, ok := s.volumes.Get(id.path()...)
	if !ok {
		return errNoVolume()
	}
	if err := check(row.Revision); err != nil {
		return err
	}
	if put.Restore != "" {
		return s.restoreCustom(ctx, id, put.Restore)
	}
	next := *row.Value
	next.Config, next.Description = put.Config, put.Description
	if patch {
		next.Config = merge(row.Value.Config, put.Config)
		if put.Description == "" {
			next.Description = row.Value.Description
		}
	}
	if err := volumeTable.Worded(volumeWords(id)).Validate(next.Config); err != nil {
		return err
	}
	if err := volumeTable.CheckSupported(row.Value.Config, next.Config); err != nil {
		return err
	}
	next.Config = config.WithoutEmpty(next.Config)
	admitted, err := s.admit(ctx, "volume update", id, next.Config)
	if err != nil {
		return err
	}
	defer admitted()
	if id.Type == VolumeCustom && next.Config["size"] != row.Value.Config["size"] {
		if err := s.applySize(ctx, id, next.Config); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.applySize(context.WithoutCancel(ctx), id, row.Value.Config))
			}
		}()
	}
	if _, err = s.Store.Commit(ctx, s.volumes.Replace(row, &next)); err != nil {
		return err
	}
	s.event(ctx, "storage-volume-updated", id, nil)
	return nil
}

// event says that something happened to a volume; LXD's events name volumes as they are on disk.
func (s *Service) event(ctx context.Context, action string, id VolumeID, details map[string]any) {
	shown := id
	shown.Name = id.diskName()
	s.Events.Lifecycle(ctx, id.Project, action, shown.URL(), details)
}

// CustomVolumes lists the custom volumes of a project in all pools, without their snapshots.
func (s *Service) CustomVolumes(project string) []VolumeID {
	home := s.homeOf(VolumeCustom, project)
	var all []VolumeID
	for _, pool := range s.Pools() {
		for _, row := range s.volumes.List(pool, home, string(VolumeCustom)) {
			if id := idOf(row.Path); id.Snapshot == "" {
				all = append(all, id)
			}
		}
	}
	return all
}
