// Package profile holds the use-cases and rules of profiles: configuration and devices that instances share.
package profile

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// Profile is a profile as the store keeps it, at /profiles/<project>/<name>.
type Profile struct {
	Description string                   `json:"description"`
	Config      map[string]string        `json:"config"`
	Devices     map[string]device.Config `json:"devices"`
	// Renaming is the rename that has made it, until that is over; see renaming.
	Renaming string `json:"renaming,omitempty"`
}

// Instances is what profiles need of instances; *instance.Service implements it.
type Instances interface {
	// CheckProfile checks a profile's content by itself.
	CheckProfile(ctx context.Context, project string, config map[string]string, devices map[string]device.Config) error
	// CheckProfileChange refuses, unless the profile had it before, what has no effect on this server and what cloud-init could not read.
	CheckProfileChange(project string, was, now map[string]string, wasDevices, devices map[string]device.Config) error
	// ChangeProfile gives a profile and the instances that use it a new content, all of them or none; write is the op that
	// writes the profile.
	ChangeProfile(ctx context.Context, project, name string, config map[string]string, devices map[string]device.Config, write store.Op) error
	// ProfileNeeds tells what of a profile is not free in a restricted project.
	ProfileNeeds(project, name string, config map[string]string, devices map[string]device.Config) []project.Need
	// ProfileUsers lists the URLs of the instances that use a profile.
	ProfileUsers(project, name string) []string
	// HoldUsed keeps what devices name (pools, networks, volumes) until the release.
	HoldUsed(ctx context.Context, action, project string, devices map[string]device.Config) (release func(), err error)
	// HoldUsers keeps the instances that use a profile as they are until the release, and, for its "rename", those with a snapshot that names
	// it. Where one is not to be had soon, the error is a lock.Busy.
	HoldUsers(ctx context.Context, action, project, profile string) (release func(), err error)
	// RenameProfile returns the ops that make instances use a profile, and their snapshots name it, under its new name: any number, for
	// store.CommitAll. back returns those that give the very same ones the names back that they had, as far as they have lost them. The
	// caller holds the instances.
	RenameProfile(project, old, name string) (ops []store.Op, back func() []store.Op)
}

// Projects is what profiles need of projects; *project.Service implements it.
type Projects interface {
	project.Homes
	Hold(ctx context.Context, action, name string) (context.Context, func(), error)
	Admit(ctx context.Context, action, name string, change project.Contents) (release func(), err error)
}

// Service is the use-cases of profiles. A project is always the one that a request is about; where it shares the profiles of the default
// project, those are meant.
type Service struct {
	store     *store.Store
	table     *store.Table[Profile]
	events    event.Publisher
	instances Instances
	images    Images
	locks     *lock.Manager
	journal   *journal.Journal
	projects  Projects
}

// New makes the service. Call it before the store is loaded, and SetInstances before the first use.
func New(s *store.Store, events event.Publisher, locks *lock.Manager, j *journal.Journal, projects Projects) *Service {
	if events == nil {
		events = event.Nobody{}
	}
	profiles := &Service{store: s, table: store.NewTable[Profile](s, "profiles"), events: events, locks: locks, journal: j, projects: projects}
	j.Handle(kindRename, profiles.finishRename)
	j.Handle(kindDelete, profiles.finishDelete)
	j.Guard(kindDelete, journal.Guard{Hold: profiles.holdDeleted})
	return profiles
}

// SetInstances closes the circle: instances are made of profiles, and a change of a profile goes through its instances.
func (s *Service) SetInstances(i Instances) { s.instances = i }

// EnsureDefault makes the profile "default" of a project if there is none.
func (s *Service) EnsureDefault(ctx context.Context, project string) error {
	if _, ok := s.table.Get(project, api.ProjectDefault); ok {
		return nil
	}
	_, err := s.store.Commit(ctx, s.CreateDefault(project))
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// CreateDefault implements project.ProfilesOf.
func (s *Service) CreateDefault(project string) store.Op {
	description := "Default LXD profile"
	if project != api.ProjectDefault {
		description += " for project " + project
	}
	return s.table.Create(&Profile{Description: description}, project, "default")
}

// RemoveDefault implements project.ProfilesOf.
func (s *Service) RemoveDefault(project string) []store.Op {
	row, ok := s.table.Get(project, "default")
	if !ok {
		return nil
	}
	return []store.Op{s.table.RemoveAt(row.Revision, project, "default")}
}

// MoveDefault implements project.ProfilesOf.
func (s *Service) MoveDefault(project, name string) []store.Op {
	row, ok := s.table.Get(project, "default")
	if !ok {
		return nil
	}
	return []store.Op{s.table.RemoveAt(row.Revision, project, "default"), s.table.Create(row.Value, name, "default")}
}

// Definition returns what a profile gives its instances. The maps are shared: clone before change.
func (s *Service) Definition(project, name string) (map[string]string, map[string]device.Config, bool) {
	row, ok := s.table.Get(s.Home(project), name)
	if !ok {
		return nil, nil, false
	}
	return row.Value.Config, row.Value.Devices, true
}

// Changes counts the changes of profiles: while it is the same, so is what Definition returns.
func (s *Service) Changes() uint64 { return s.table.Changes() }

// Get returns a profile and its revision.
func (s *Service) Get(_ context.Context, project, name string) (*api.Profile, store.Revision, error) {
	row, ok := s.table.Get(s.Home(project), name)
	if !ok {
		return nil, 0, api.NotFound("Fetch profile: Profile not found")
	}
	return s.show(row), row.Revision, nil
}

// List returns the profiles of a project by name.
func (s *Service) List(_ context.Context, project string) []*api.Profile {
	list := []*api.Profile{}
	for _, row := range s.table.List(s.Home(project)) {
		list = append(list, s.show(row))
	}
	return list
}

// Names returns the names of a project's profiles.
func (s *Service) Names(project string) []string {
	names := []string{}
	for _, row := range s.table.List(s.Home(project)) {
		names = append(names, row.Path[1])
	}
	return names
}

// Users lists the URLs of the profiles whose devices fit: by whom a pool or network is used.
func (s *Service) Users(in func(project string) bool, fits func(devices map[string]device.Config) bool) []string {
	var urls []string
	for _, row := range s.table.List() {
		if in(row.Path[0]) && fits(row.Value.Devices) {
			urls = append(urls, url(row.Path...))
		}
	}
	return urls
}

func (s *Service) show(row store.Row[Profile]) *api.Profile {
	p := &api.Profile{Name: row.Path[1], UsedBy: s.instances.ProfileUsers(row.Path[0], row.Path[1])}
	p.Description = row.Value.Description
	p.Config = maps.Clone(row.Value.Config)
	if p.Config == nil {
		p.Config = map[string]string{}
	}
	p.Devices = map[string]map[string]string{}
	for name, cfg := range row.Value.Devices {
		p.Devices[name] = maps.Clone(cfg)
	}
	return p
}

// Create makes a profile.
func (s *Service) Create(ctx context.Context, project string, req api.ProfilesPost) error {
	if err := checkName(req.Name); err != nil {
		return err
	}
	ctx, release, err := s.projects.Hold(ctx, "create", project)
	if err != nil {
		return err
	}
	defer release()
	if project, err = s.homeFor(ctx, project, access.CanCreateProfiles, ""); err != nil {
		return err
	}
	if _, exists := s.table.Get(project, req.Name); exists {
		return errExists(req.Name)
	}
	p := fromPut(req.ProfilePut)
	held, err := s.hold(ctx, "create", lock.Exclusive(lock.ForProfile(project, req.Name)))
	if err != nil {
		return err
	}
	defer held.Release()
	unpin, err := s.instances.HoldUsed(held.Context(ctx), "create", project, p.Devices)
	if err != nil {
		return err
	}
	defer unpin()
	admitted, err := s.admit(ctx, "profile creation", project, req.Name, p)
	if err != nil {
		return err
	}
	defer admitted()
	if err := s.check(ctx, project, &Profile{}, p); err != nil {
		return err
	}
	_, err = s.store.Commit(ctx, s.table.Create(p, project, req.Name))
	if errors.Is(err, store.ErrConflict) {
		return errExists(req.Name)
	}
	if err != nil {
		return err
	}
	s.events.Lifecycle(ctx, project, "profile-created", url(project, req.Name), nil)
	return nil
}

// hold claims profiles for an action.
func (s *Service) hold(ctx context.Context, action string, wants ...lock.Want) (*lock.Held, error) {
	return s.locks.Acquire(ctx, lock.Claim{Action: action, Patience: lock.Long}, wants...)
}

// admit asks the restrictions of its project whether a profile may be as it is about to be; the answer is right until the release. It comes before
// check, which looks at the host: what is there is not told to those to whom it is forbidden.
func (s *Service) admit(ctx context.Context, action, home, name string, p *Profile) (release func(), err error) {
	return s.projects.Admit(ctx, action, home, project.Contents{Profiles: []project.Profile{s.counted(home, name, p)}})
}

func (s *Service) counted(home, name string, p *Profile) project.Profile {
	return project.Profile{Name: name, Needs: func() []project.Need { return s.instances.ProfileNeeds(home, name, p.Config, p.Devices) }}
}

// Contents lists a project's own profiles for its restrictions.
func (s *Service) Contents(home string) []project.Profile {
	var all []project.Profile
	for _, row := range s.table.List(home) {
		all = append(all, s.counted(home, row.Path[1], row.Value))
	}
	return all
}

// homeFor is Home for whoever makes or changes a profile.
func (s *Service) homeFor(ctx context.Context, name string, may access.Entitlement, profile string) (string, error) {
	return project.Home(ctx, s.projects, access.Profile, name, may, profile)
}

// Home is the project that a project's profiles are in.
func (s *Service) Home(name string) string { return s.projects.Effective(project.Profiles, name) }

// url is where the API shows a profile, given its place in the table.
func url(path ...string) string { return project.URL(path[0], "profiles", path[1]) }

func errExists(name string) error {
	return api.Conflict("Error inserting %q into database: The profile already exists", name)
}

func checkName(name string) error {
	switch {
	case name == "":
		return api.BadRequest("No name provided")
	case strings.Contains(name, "/"):
		return api.BadRequest("Profile names may not contain slashes")
	case name == "." || name == "..":
		return api.BadRequest("Invalid profile name %q", name)
	}
	return nil
}

func fromPut(req api.ProfilePut) *Profile {
	p := &Profile{Description: req.Description, Config: config.WithoutEmpty(req.Config), Devices: map[string]device.Config{}}
	for name, cfg := range req.Devices {
		p.Devices[name] = config.WithoutEmpty(cfg)
	}
	return p
}

// Put replaces a profile's content, and with it that of the instances that use it. match sees the revision that is about to
// be replaced (ETag).
func (s *Service) Put(ctx context.Context, project, name string, req api.ProfilePut, match func(store.Revision) error) error {
	return s.change(ctx, project, name, match, func(store.Row[Profile]) *Profile { return fromPut(req) })
}

// Patch changes the keys and devices that the request holds; an empty value removes a key. describe tells that the
// request holds a description. match as in Put.
func (s *Service) Patch(ctx context.Context, project, name string, req api.ProfilePut, describe bool, match func(store.Revision) error) error {
	return s.change(ctx, project, name, match, func(row store.Row[Profile]) *Profile {
		merged := s.show(row).ProfilePut
		maps.Copy(merged.Config, req.Config)
		maps.Copy(merged.Devices, req.Devices)
		if describe {
			merged.Description = req.Description
		}
		return fromPut(merged)
	})
}

// check refuses a profile that no instance could have, and what is new in it and could have no effect.
func (s *Service) check(ctx context.Context, project string, was, now *Profile) error {
	// In this order, as what cloud-init cannot read is named with its line.
	if err := s.instances.CheckProfileChange(project, was.Config, now.Config, was.Devices, now.Devices); err != nil {
		return err
	}
	return s.instances.CheckProfile(ctx, project, now.Config, now.Devices)
}

// patiently tries what finds users of a profile busy again when they are not, for as long as a claim of them would wait. Meanwhile it has let
// go of the profile: others come to use it as they do at any time.
func patiently(ctx context.Context, try func() error) error {
	limit, cancel := context.WithTimeout(ctx, lock.Bound)
	defer cancel()
	for {
		err := try()
		var busy *lock.Busy
		if !errors.As(err, &busy) {
			return err
		}
		select {
		case <-busy.Holder.Done():
		case <-limit.Done():
		}
		if limit.Err() != nil {
			return err
		}
	}
}

// change gives a profile, while nobody else changes it or comes to use it, the content that edit makes of what it is.
func (s *Service) change(ctx context.Context, project, name string, match func(store.Revision) error, edit func(store.Row[Profile]) *Profile) error {
	return patiently(ctx, func() error { return s.tryChange(ctx, project, name, match, edit) })
}

func (s *Service) tryChange(ctx context.Context, project, name string, match func(store.Revision) error, edit func(store.Row[Profile]) *Profile) error {
	project, err := s.homeFor(ctx, project, access.CanEdit, name)
	if err != nil {
		return err
	}
	held, err := s.hold(ctx, "update", lock.Exclusive(lock.ForProfile(project, name)))
	if err != nil {
		return err
	}
	defer held.Release()
	row, ok := s.table.Get(project, name)
	if !ok {
		return api.NotFound("Failed to retrieve profile %q: Profile not found", name)
	}
	if err := match(row.Revision); err != nil {
		return err
	}
	next := edit(row)
	admitted, err := s.admit(ctx, "profile update", project, name, next)
	if err != nil {
		return err
	}
	defer admitted()
	if err := s.check(ctx, project, row.Value, next); err != nil {
		return err
	}
	if err := s.instances.ChangeProfile(held.Context(ctx), project, name, next.Config, next.Devices, s.table.Replace(row, next)); err != nil {
		return err
	}
	s.events.Lifecycle(ctx, project, "profile-updated", url(project, name), nil)
	return nil
}

// Delete removes a profile that nobody uses.
func (s *Service) Delete(ctx context.Context, project, name string) error {
	if name == "default" {
		return api.Forbidden(`The "default" profile cannot be deleted`)
	}
	project, err := s.homeFor(ctx, project, access.CanDelete, name)
	if err != nil {
		return err
	}
	held, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForProfile(project, name)))
	if err != nil {
		return err
	}
	defer held.Release()
	row, ok := s.table.Get(project, name)
	if !ok {
		return api.NotFound("Profile not found")
	}
	if len(s.instances.ProfileUsers(project, name)) > 0 {
		return api.BadRequest("Profile is currently in use")
	}
	if err := s.remove(ctx, row); err != nil {
		return err
	}
	s.events.Lifecycle(ctx, project, "profile-deleted", url(project, name), nil)
	return nil
}
