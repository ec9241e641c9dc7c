package instance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

var (
	createBegun  = fault.New("instance.create.begun")
	createVolume = fault.New("instance.create.volume")
	createLinked = fault.New("instance.create.linked")
)

// Create checks a request for a new instance and returns the work.
func (s *Service) Create(ctx context.Context, project string, req api.InstancesPost) (*operation.Task, error) {
	if err := checkType(req.Type); err != nil {
		return nil, err
	}
	if req.Name == "" {
		req.Name = newName(func(n string) bool { _, taken := s.instances.Get(project, n); return taken })
	}
	if err := checkName(req.Name); err != nil {
		return nil, err
	}
	if err := applySize(&req); err != nil {
		return nil, err
	}
	if t := req.Source.Type; t == "image" || t == "copy" {
		req.Architecture = "" // that of the source counts, whatever a client says
	}
	if req.Architecture != "" && req.Architecture != s.Host.Arch && !compatible(s.Host.Arch, req.Architecture) {
		return nil, api.BadRequest("Architecture isn't supported: %s", req.Architecture)
	}
	if req.Source.Type != "copy" { // which is compared with its source
		if err := s.checkVolatile(project, req.Name, nil, req.Config); err != nil {
			return nil, err
		}
	}
	switch req.Source.Type {
	case "image":
		return s.createFromImage(ctx, project, req)
	case "none":
		i := s.newInstance(project, req)
		return s.createTask(ctx, i, origin{fill: func(ctx context.Context, _ operation.Progress) error {
			return s.Volumes.CreateEmpty(ctx, i.volume())
		}})
	case "copy":
		return s.createFromCopy(ctx, project, req)
	case "migration":
		return nil, api.NotImplemented("Migration between servers is not supported by this server")
	default:
		return nil, api.BadRequest("Unknown source type %s", req.Source.Type)
	}
}

func checkType(t api.InstanceType) error {
	switch t {
	case "", api.InstanceTypeContainer, "any":
		return nil
	case api.InstanceTypeVM:
		return api.BadRequest("Instance type %q is not supported on this server", t)
	default:
		return api.BadRequest("Invalid instance type")
	}
}

// compatible tells whether a host of one architecture runs another's programs.
func compatible(host, guest string) bool {
	return (host == "x86_64" && guest == "i686") || (host == "aarch64" && guest == "armv7l")
}

func (s *Service) createFromImage(ctx context.Context, project string, req api.InstancesPost) (*operation.Task, error) {
	src := req.Source
	if src.Alias == "" && src.Fingerprint == "" && len(src.Properties) == 0 {
		return nil, api.BadRequest("Must specify one of alias, fingerprint or properties for init from image")
	}
	img, err := s.Images.Resolve(ctx, project, src)
	if err != nil {
		return nil, err
	}
	if img.Type != "" && img.Type != string(api.InstanceTypeContainer) {
		return nil, api.BadRequest("Asked for a container but image is of type %s", img.Type)
	}
	if req.Profiles == nil {
		req.Profiles = img.Profiles
	}
	req.Architecture = img.Architecture
	i := s.newInstance(project, req)
	for k, v := range img.Properties {
		i.Config["image."+k] = v
	}
	i.Config["volatile.base_image"] = img.Fingerprint
	return s.createTask(ctx, i, origin{
		fill: func(ctx context.Context, p operation.Progress) error {
			return s.fillFromImage(ctx, i, img.Fingerprint, p)
		},
		used: func() []store.Op { return s.Images.Used(project, img.Fingerprint) },
	})
}

func unpackProgress(p operation.Progress) func(percent int, speed int64) {
	return func(percent int, speed int64) {
		const stage = "create_instance_from_image_unpack"
		p.Update(map[string]any{
			stage + "_progress": fmt.Sprintf("Unpack: %d%% (%s/s)", percent, config.FormatDecimal(speed)),
			"progress":          map[string]string{"percent": fmt.Sprint(percent), "speed": fmt.Sprint(speed), "stage": stage},
		})
	}
}

// newInstance makes the record of a request, with the volatile keys that every instance has from its beginning.
func (s *Service) newInstance(project string, req api.InstancesPost) *Instance {
	i := &Instance{Project: project, Name: req.Name, UUID: uuid.NewString(), Creating: true, Body: Body{
		Type:         api.InstanceTypeContainer,
		Architecture: req.Architecture,
		Config:       maps.Clone(req.Config),
		Devices:      toDevices(req.Devices),
		Profiles:     req.Profiles,
		Ephemeral:    req.Ephemeral,
		Stateful:     req.Stateful,
		Description:  req.Description,
		CreatedAt:    time.Now().UTC(),
		LastUsedAt:   never,
	}}
	if i.Architecture == "" {
		i.Architecture = s.Host.Arch
	}
	if i.Config == nil {
		i.Config = map[string]string{}
	}
	if i.Profiles == nil {
		i.Profiles = []string{"default"}
	}
	for k, v := range i.Config {
		if v == "" {
			delete(i.Config, k)
		}
	}
	setDefault(i.Config, "volatile.apply_template", "create")
	setDefault(i.Config, "volatile.uuid", uuid.NewString())
	setDefault(i.Config, "volatile.cloud-init.instance-id", uuid.NewString())
	return i
}

func setDefault(c map[string]string, key, value string) {
	if c[key] == "" {
		c[key] = value
	}
}

// snapshotCopy is a snapshot that comes with a new instance.
type snapshotCopy struct {
	name   string
	record *Snapshot
	like   storage.VolumeID // the volume it is a copy of
}

// origin is what a new instance is made from.
type origin struct {
	fill  func(context.Context, operation.Progress) error // makes its volume
	also  []string                                        // other instances that the operation is about
	like  storage.VolumeID                                // the volume that its own is a copy of, if it is one
	snaps []snapshotCopy
	used  func() []store.Op // what is committed with it, if anything

	// For a copy: sources are locked shared until it is done, and look completes the instance and the origin once they are.
	sources []lock.Want
	look    func(i *Instance, o *origin) error
	missing []string // profiles that the copy does without
}

// createTask checks the finished record and returns the work.
func (s *Service) createTask(ctx context.Context, i *Instance, from origin) (*operation.Task, error) {
	for _, p := range i.Profiles {
		if _, _, ok := s.Profiles.Definition(i.Project, p); !ok {
			return nil, api.NotFound("Requested profile %q doesn't exist", p)
		}
	}
	if from.look == nil { // a copy is compared with its source
		if err := s.checkFirst(i); err != nil {
			return nil, err
		}
	}
	return &operation.Task{
		Description: "Creating instance",
		Resources:   resources(append([]string{i.Name}, from.also...)...),
		Run: func(ctx context.Context, p operation.Progress) error {
			return s.create(ctx, i, from, p)
		},
	}, nil
}

// checkFirst refuses what a new instance may not be, or brings without an effect.
func (s *Service) checkFirst(i *Instance) error {
	if err := s.permitted("instance creation", i); err != nil {
		return err
	}
	return s.checkNew(i.Project, &Body{}, &i.Body)
}

func errExists() error {
	return api.Conflict(`Failed creating instance record: Add instance info to the database: This "instances" entry already exists`)
}

func (s *Service) create(ctx context.Context, i *Instance, from origin, progress operation.Progress) error {
	ctx, letGo, err := s.Projects.Hold(ctx, "create", i.Project)
	if err != nil {
		return err
	}
	defer letGo()
	profiles, err := s.holdProfiles(ctx, "create", i.Project, i.Profiles)
	if err != nil {
		return err
	}
	defer profiles.Release()
	held, err := s.acquire(profiles.Context(ctx), i.Project, i.Name, "create", lock.Short)
	if err != nil {
		return err
	}
	defer held.Release()
	if _, exists := s.instances.Get(i.Project, i.Name); exists {
		return errExists()
	}
	if err := s.unshared(i.Project, i.Name); err != nil {
		return err
	}
	used, err := s.holdUsed(held.Context(profiles.Context(ctx)), "create", i, from.sources...)
	if err != nil {
		return err
	}
	defer used.Release()
	look := from.look
	if look == nil { // its profiles may have changed since the request came
		look = func(i *Instance, _ *origin) error { return s.checkFirst(i) }
	}
	if err := look(i, &from); err != nil {
		return err
	}
	if len(from.snaps) > 0 {
		if err := s.allowSnapshot(i.Project); err != nil {
			return err
		}
	}
	eff, entry, c, err := s.beginCreate(ctx, i, from)
	if err != nil {
		return err
	}
	profiles.Release() // the record that is there now says what it uses
	if err := undoFailed(ctx, s.fillCreated(ctx, i, eff, entry, from, progress), entry, c, s.undoCreate); err != nil {
		return err
	}
	if len(from.snaps) > 0 {
		s.pruner.Changed()
	}
	s.deviceAdded(ctx, i, nil, eff)
	if len(from.missing) > 0 {
		warnMissing(ctx, i.Project, i.Name, from.missing)
	}
	s.publish(ctx, i.Project, "instance-created", url(i.Project, i.Name), map[string]any{"type": string(i.Type), "storage-pool": i.Pool})
	for _, snap := range from.snaps {
		s.publish(ctx, i.Project, "instance-snapshot-created", snapshotURL(i.Project, i.Name, snap.name), nil)
	}
	return nil
}

// beginCreate checks the final record and writes it, together with the journal's entry that says what is about to be made.
func (s *Service) beginCreate(ctx context.Context, i *Instance, from origin) (*effective, *journal.Entry, change, error) {
	fail := func(err error) (*effective, *journal.Entry, change, error) {
		return nil, nil, change{}, fmt.Errorf("Failed creating instance record: %w", err)
	}
	eff, err := s.check(ctx, i, nil)
	if err != nil {
		return fail(err)
	}
	if err := s.checkAdded(ctx, i, nil, eff); err != nil {
		return fail(fmt.Errorf("Failed initialising instance: Invalid devices: %w", err))
	}
	admitted, err := s.admit(ctx, "instance creation", i, eff)
	if err != nil {
		return nil, nil, change{}, err
	}
	defer admitted()
	i.Pool = eff.Pool
	ids, release, err := s.claimIDs(ctx, nil, i, eff)
	if err != nil {
		return fail(err)
	}
	defer release()
	setIDMap(i.Config, eff)
	if err := s.deviceDefaults(i, eff); err != nil {
		return fail(err)
	}
	c := changeOf(i)
	c.Volumes = []storage.VolumeID{i.volume()}
	for _, snap := range from.snaps {
		c.Volumes = append(c.Volumes, i.snapshotOf(snap.name, snap.record))
	}
	entry, err := s.Journal.Begin(ctx, kindCreate, c, append(ids, s.instances.Create(i, i.Project, i.Name))...)
	if errors.Is(err, store.ErrConflict) {
		return nil, nil, c, errExists()
	}
	return eff, entry, c, err
}

// fillCreated makes an instance's volume and what belongs to it, and completes its record.
func (s *Service) fillCreated(ctx context.Context, i *Instance, eff *effective, entry *journal.Entry, from origin, progress operation.Progress) error {
	if err := createBegun.Hit(); err != nil {
		return err
	}
	if err := from.fill(ctx, progress); err != nil {
		return fmt.Errorf("Failed creating instance: %w", err)
	}
	if err := createVolume.Hit(); err != nil {
		return err
	}
	if err := s.finishVolume(ctx, i, eff.Devices[eff.Root], len(from.snaps) > 0); err != nil {
		return err
	}
	if err := createLinked.Hit(); err != nil {
		return err
	}
	i.Creating = false
	last := []store.Op{s.instances.Put(i, i.Project, i.Name), s.Volumes.Record(i.volume(), from.like), entry.Done()}
	if from.used != nil {
		last = append(last, from.used()...)
	}
	var ops []store.Op
	for _, snap := range from.snaps {
		ops = append(ops, s.snapshots.Put(snap.record, i.Project, i.Name, snap.name), s.Volumes.Record(i.snapshotVolume(snap.name), snap.like))
	}
	_, err := s.Store.CommitAll(ctx, ops, last...)
	return err
}

// finishVolume sets the quota of a new volume and makes the links to it.
func (s *Service) finishVolume(ctx context.Context, i *Instance, root device.Config, snapshots bool) error {
	if err := s.applyQuota(ctx, i, root["size"]); err != nil {
		return err
	}
	if err := restrictFolder(s.Volumes.Path(i.volume()), nil); err != nil {
		return err
	}
	if err := s.linkInstance(i); err != nil {
		return err
	}
	if !snapshots {
		return nil
	}
	return s.linkSnapshots(i, true)
}

// undoCreate removes what a create that failed, or was cut off, has made so far; nothing if its last commit went through.
func (s *Service) undoCreate(ctx context.Context, c change) error {
	i, ok := s.current(c)
	if ok && !i.Creating {
		return nil
	}
	if err := s.Volumes.Undo(ctx, c.Volumes...); err != nil || !ok {
		return err
	}
	if err := s.unlinkLost(i); err != nil {
		return err
	}
	return s.forget(ctx, i)
}

// deviceDefaults fills the volatile keys that a device has from when it is added: a NIC's MAC address.
func (s *Service) deviceDefaults(i *Instance, e *effective) error {
	in := s.deviceInstance(i, e)
	for _, name := range sortedNames(e.Devices) {
		d, ok := s.Modules[e.Devices[name]["type"]].(device.Defaulter)
		if !ok {
			continue
		}
		more, err := d.Defaults(in, name, e.Devices[name], deviceVolatile(i.Config, name))
		if err != nil {
			return fmt.Errorf("Failed setting up device %q: %w", name, err)
		}
		setDeviceVolatile(i.Config, name, more)
	}
	return nil
}

// deviceVolatile returns the volatile keys of a device, without their prefix.
func deviceVolatile(c map[string]string, name string) map[string]string {
	return family(c, "volatile."+name+".")
}

// setDeviceVolatile writes a device's volatile keys back; an empty value removes one.
func setDeviceVolatile(c map[string]string, name string, changes map[string]string) {
	for k, v := range changes {
		if v == "" {
			delete(c, "volatile."+name+"."+k)
		} else {
			c["volatile."+name+"."+k] = v
		}
	}
}

// resetDeviceVolatile removes what was kept for a device that another one replaces: what the new one says itself, or,
// if it is of another type, everything.
func resetDeviceVolatile(c map[string]string, name string, was, now device.Config) {
	if was["type"] != now["type"] {
		dropDeviceVolatile(c, name)
		return
	}
	for key, value := range now {
		if value != "" {
			delete(c, "volatile."+name+"."+key)
		}
	}
}

// dropDeviceVolatile removes everything that was kept for a device.
func dropDeviceVolatile(c map[string]string, name string) {
	for k := range c {
		if strings.HasPrefix(k, "volatile."+name+".") {
			delete(c, k)
		}
	}
}
