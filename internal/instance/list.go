package instance

import (
	"context"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// Get returns an instance and its revision.
func (s *Service) Get(_ context.Context, project, name string) (*api.Instance, store.Revision, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, 0, err
	}
	return s.show(row.Value), row.Revision, nil
}

// GetFull returns an instance with its state and snapshots.
func (s *Service) GetFull(ctx context.Context, project, name string) (*api.InstanceFull, store.Revision, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, 0, err
	}
	full := s.showFull(ctx, row.Value)
	return &full, row.Revision, nil
}

// Exists tells whether there is an instance of that name.
func (s *Service) Exists(project, name string) bool {
	_, ok := s.instances.Get(project, name)
	return ok
}

// UUID is what tells an instance from another that has its name later.
func (s *Service) UUID(project, name string) (uuid string, ok bool) {
	row, ok := s.instances.Get(project, name)
	if !ok {
		return "", false
	}
	return row.Value.UUID, true
}

// List returns the instances of a project, or with "" those of all, by project and name. keep chooses.
func (s *Service) List(ctx context.Context, project string, keep func(*api.Instance) bool) []*api.Instance {
	var list []*api.Instance
	for _, i := range s.seen(ctx, project) {
		if one := s.show(i); keep == nil || keep(one) {
			list = append(list, one)
		}
	}
	return list
}

// Names calls each for the instances of a project, or with "" of all, in List's order. keep chooses by type.
func (s *Service) Names(ctx context.Context, project string, keep func(api.InstanceType) bool, each func(project, name string)) {
	for _, i := range s.seen(ctx, project) {
		if keep(i.Type) {
			each(i.Project, i.Name)
		}
	}
}

// ListFull is List with the live state and the snapshots of each.
func (s *Service) ListFull(ctx context.Context, project string, keep func(*api.InstanceFull) bool) []*api.InstanceFull {
	rows := s.seen(ctx, project)
	list := make([]*api.InstanceFull, len(rows))
	var running []int
	for n, i := range rows {
		if s.running(i) {
			running = append(running, n)
			continue
		}
		full := s.showFull(ctx, i) // no need of a goroutine, nor of the disk
		list[n] = &full
	}
	sideBySide(running, func(_, n int) {
		full := s.showFull(ctx, rows[n])
		list[n] = &full
	})
	if keep == nil {
		return list
	}
	return slices.DeleteFunc(list, func(i *api.InstanceFull) bool { return !keep(i) })
}

// seen are the rows of a project, or of all those that the caller sees.
func (s *Service) seen(ctx context.Context, project string) []*Instance {
	rows := s.rows(project)
	if project != "" && request.CallerFrom(ctx).May(access.CanViewInstances, access.InProject(project)) {
		return rows
	}
	sees := request.Viewer(ctx, access.Instance)
	if sees == nil {
		return rows
	}
	return slices.DeleteFunc(rows, func(i *Instance) bool { return !sees(i.Project, i.Name) })
}

func (s *Service) rows(project string) []*Instance {
	var found []store.Row[Instance]
	if project == "" {
		found = s.instances.List()
	} else {
		found = s.instances.List(project)
	}
	list := make([]*Instance, len(found))
	for n, row := range found {
		list[n] = row.Value
	}
	return list
}

// show is an instance as the API gives it.
func (s *Service) show(i *Instance) *api.Instance {
	return showExpanded(i, s.effectiveOf(i), s.Runtime.Status(i.id()))
}

func showExpanded(i *Instance, e *effective, status api.StatusCode) *api.Instance {
	return &api.Instance{
		InstancePut: api.InstancePut{
			Architecture: i.Architecture,
			Config:       maps.Clone(i.Config),
			Devices:      fromDevices(i.Devices),
			Ephemeral:    i.Ephemeral,
			Profiles:     list(i.Profiles),
			Stateful:     i.Stateful,
			Description:  i.Description,
		},
		CreatedAt:       i.CreatedAt,
		ExpandedConfig:  e.Config,
		ExpandedDevices: fromDevices(e.Devices),
		Name:            i.Name,
		Status:          status.String(),
		StatusCode:      status,
		LastUsedAt:      i.LastUsedAt,
		Location:        "none",
		Type:            string(i.Type),
		Project:         i.Project,
	}
}

// list is a copy that is never null on the wire.
func list(v []string) []string { return append([]string{}, v...) }

func (s *Service) showFull(ctx context.Context, i *Instance) api.InstanceFull {
	full := api.InstanceFull{Instance: *s.show(i), State: s.state(ctx, i)}
	for _, row := range s.sortedSnapshots(i.Project, i.Name) {
		full.Snapshots = append(full.Snapshots, s.showSnapshot(i.Project, row))
	}
	return full
}

// State returns the live state of an instance.
func (s *Service) State(ctx context.Context, project, name string) (*api.InstanceState, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, err
	}
	return s.state(ctx, row.Value), nil
}

func (s *Service) state(ctx context.Context, i *Instance) *api.InstanceState {
	status := s.Runtime.Status(i.id())
	stopped := &api.InstanceState{Status: status.String(), StatusCode: status, Disk: map[string]api.InstanceStateDisk{}}
	if status == api.Stopped {
		return stopped
	}
	v := s.viewOf(i)
	state, err := bounded.Do(ctx, &s.live, i.id(), liveTime, func() (*api.InstanceState, error) { return s.Runtime.State(ctx, i.id(), v.hostNames) })
	if err != nil || state == nil {
		s.Log.Debug("live state", "instance", i.Name, "project", i.Project, "err", err)
		return stopped
	}
	if state.Disk == nil {
		state.Disk = map[string]api.InstanceStateDisk{}
	}
	if v.root == "" {
		return state
	}
	// A pool that does not answer says nothing of the disk, and keeps nothing else back.
	usage, err := bounded.Do(ctx, &s.usage, i.id(), liveTime, func() (int64, error) { return s.Volumes.Usage(ctx, i.volume()) })
	if err == nil && usage >= 0 {
		state.Disk[v.root] = api.InstanceStateDisk{Usage: usage}
	}
	return state
}

// liveTime bounds the wait for what the kernel says of one instance, and that for what its pool says. What is known without them is
// shown then.
const liveTime = time.Second

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// Snapshots lists the snapshots of an instance, oldest first.
func (s *Service) Snapshots(_ context.Context, project, name string) ([]api.InstanceSnapshot, error) {
	if _, err := s.get(project, name); err != nil {
		return nil, err
	}
	list := []api.InstanceSnapshot{}
	for _, row := range s.sortedSnapshots(project, name) {
		list = append(list, s.showSnapshot(project, row))
	}
	return list, nil
}

// Snapshot returns one snapshot and its revision.
func (s *Service) Snapshot(_ context.Context, project, name, snapshot string) (*api.InstanceSnapshot, store.Revision, error) {
	if _, err := s.get(project, name); err != nil {
		return nil, 0, err
	}
	row, err := s.getSnapshot(project, name, snapshot)
	if err != nil {
		return nil, 0, err
	}
	one := s.showSnapshot(project, row)
	return &one, row.Revision, nil
}

func (s *Service) sortedSnapshots(project, name string) []store.Row[Snapshot] {
	rows := s.snapshots.List(project, name)
	sort.SliceStable(rows, func(a, b int) bool { return rows[a].Value.CreatedAt.Before(rows[b].Value.CreatedAt) })
	return rows
}

func (s *Service) showSnapshot(project string, row store.Row[Snapshot]) api.InstanceSnapshot {
	snap := row.Value.body()
	c, devices := expand(s.Profiles, project, &snap)
	shown := showRest(&snap, devices)
	shown.ExpiresAt, shown.CreatedAt, shown.LastUsedAt = row.Value.ExpiresAt, snap.CreatedAt, snap.LastUsedAt
	shown.Name, shown.Config, shown.ExpandedConfig = row.Path[2], snap.Config, c
	return shown
}

// showRest is a snapshot as the API gives it without its times, its name and its configuration: with devices for its own and those of
// its profiles.
func showRest(b *Body, devices map[string]device.Config) api.InstanceSnapshot {
	return api.InstanceSnapshot{
		Architecture:    b.Architecture,
		Devices:         fromDevices(b.Devices),
		Ephemeral:       b.Ephemeral,
		ExpandedDevices: fromDevices(devices),
		Profiles:        list(b.Profiles),
		Stateful:        b.Stateful,
		Size:            -1,
	}
}
