package instance

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// Put replaces what can be changed of an instance, and returns the work. match sees the revision that is about to be
// replaced (ETag): at once, and again when nobody else can change it any more.
func (s *Service) Put(ctx context.Context, project, name string, req api.InstancePut, match func(store.Revision) error) (*operation.Task, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, err
	}
	if err := match(row.Revision); err != nil {
		return nil, err
	}
	if req.Profiles == nil { // how Debian's lxc says that there are to be none
		req.Profiles = []string{}
	}
	if req.Restore != "" && req.Stateful { // no snapshot has a running state
		return nil, api.BadRequest("Stateful snapshot restore requested by snapshot is stateless")
	}
	if req.Restore != "" {
		return s.Restore(ctx, project, name, req.Restore, match)
	}
	return &operation.Task{
		Description: "Updating instance",
		Resources:   resources(name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.update(ctx, project, name, req.Profiles, match, func(i *Instance) error {
				i.Config = config.WithoutEmpty(req.Config)
				i.Devices = toDevices(req.Devices)
				i.Profiles = slices.Clone(req.Profiles)
				i.Ephemeral = req.Ephemeral
				i.Description = req.Description
				return s.setArchitecture(i, req.Architecture)
			})
		},
	}, nil
}

// Patch changes what the request holds: keys of the configuration and whole devices one by one (an empty value
// removes a key), other fields if has says that the request has them. match as in Put.
func (s *Service) Patch(ctx context.Context, project, name string, req api.InstancePut, has func(field string) bool,
	match func(store.Revision) error,
) error {
	if _, err := s.get(project, name); err != nil {
		return err
	}
	return s.update(ctx, project, name, req.Profiles, match, func(i *Instance) error {
		maps.Copy(i.Config, req.Config)
		i.Config = config.WithoutEmpty(i.Config)
		maps.Copy(i.Devices, toDevices(req.Devices))
		if has("profiles") {
			i.Profiles = slices.Clone(req.Profiles)
		}
		if has("ephemeral") {
			i.Ephemeral = req.Ephemeral
		}
		if has("description") {
			i.Description = req.Description
		}
		if has("architecture") {
			return s.setArchitecture(i, req.Architecture)
		}
		return nil
	})
}

func (s *Service) setArchitecture(i *Instance, arch string) error {
	if arch == "" || arch == i.Architecture {
		return nil
	}
	if arch != s.Host.Arch && !compatible(s.Host.Arch, arch) {
		return api.BadRequest("Architecture isn't supported: %s", arch)
	}
	i.Architecture = arch
	return nil
}

// update changes an instance as edit says, in the store and, if it runs, live. profiles are those that edit may give it; they are
// locked meanwhile.
func (s *Service) update(ctx context.Context, project, name string, profiles []string, match func(store.Revision) error, edit func(*Instance) error) error {
	if err := s.sourcesAnswer(ctx, project, name, edit); err != nil {
		return err
	}
	given, err := s.holdProfiles(ctx, "update", project, profiles)
	if err != nil {
		return err
	}
	defer given.Release()
	row, release, err := s.hold(given.Context(ctx), project, name, "update", lock.Long)
	if err != nil {
		return err
	}
	defer release()
	if err := match(row.Revision); err != nil {
		return err
	}
	next := row.Value.clone()
	if err := edit(next); err != nil {
		return err
	}
	if err := s.checkVolatile(project, name, row.Value.Config, next.Config); err != nil {
		return err
	}
	if err := s.permitted("instance update", next); err != nil {
		return err
	}
	if err := s.checkNew(project, &row.Value.Body, &next.Body); err != nil {
		return err
	}
	if err := s.replace(ctx, row, next); err != nil {
		return err
	}
	s.publish(ctx, project, "instance-updated", url(project, name), nil)
	return nil
}

// replace checks a new version of an instance and puts it into force.
func (s *Service) replace(ctx context.Context, row store.Row[Instance], next *Instance) error {
	old := row.Value
	for _, key := range []string{"volatile.idmap.base", "volatile.idmap.current", "volatile.idmap.next", "volatile.last_state.idmap"} {
		if old.Config[key] != "" && next.Config[key] == "" {
			return api.BadRequest("Volatile idmap keys can't be deleted by the user")
		}
	}
	if id := old.Config["volatile.uuid"]; id != "" && next.Config["volatile.uuid"] == "" {
		next.Config["volatile.uuid"] = id // what was made on the host for an instance older than UUIDs is marked with it
	}
	next.owned(&old.Body) // these keys say how the files on disk are owned: not the client's to change
	if next.Ephemeral != old.Ephemeral && s.running(old) && next.Ephemeral {
		s.Log.Debug("A running instance became ephemeral", "instance", old.Name, "project", old.Project)
	}
	named, err := s.holdUsed(ctx, "update", next)
	if err != nil {
		return err
	}
	defer named.Release()
	after, err := s.check(ctx, next, old)
	if err != nil {
		return err
	}
	admitted, err := s.admit(ctx, "instance update", next, after)
	if err != nil {
		return err
	}
	defer admitted()
	ids, release, err := s.claimIDs(ctx, old, next, after)
	if err != nil {
		return err
	}
	defer release()
	before := s.effectiveOf(old)
	return s.transition(ctx, old, next, before, after, func(ctx context.Context, with ...store.Op) error {
		return s.modify(ctx, old.Project, old.Name, func(i *Instance) error {
			*i = *next
			return nil
		}, append(with, ids...)...)
	})
}

// effectiveOf expands an instance as it is kept, without checking it again.
func (s *Service) effectiveOf(i *Instance) *effective {
	e := &effective{Pool: i.Pool}
	e.Config, e.Devices = expand(s.Profiles, i.Project, &i.Body)
	e.Root, _, _ = rootDevice(e.Devices)
	return e
}

// transition carries an instance over from one effective configuration to another: volatile keys, quota, limits and
// devices. commit writes the new record; it is called once, when all that can fail before it has succeeded. After an error
// all is as before.
func (s *Service) transition(ctx context.Context, old, next *Instance, before, after *effective,
	commit func(context.Context, ...store.Op) error,
) error {
	st, err := s.plan(ctx, old, next, before, after)
	if err != nil {
		return err
	}
	return s.carryOut(ctx, []*step{st}, func(ctx context.Context) error { return commit(ctx, s.ops(st)...) })
}

// cloudInitChanged tells whether cloud-init has to look again: at its own keys, or at other network interfaces.
func cloudInitChanged(before, after *effective) bool {
	if !maps.Equal(interfaces(before.Devices), interfaces(after.Devices)) {
		return true
	}
	return slices.ContainsFunc(config.Changed(before.Config, after.Config), func(key string) bool {
		switch key {
		case "user.user-data", "user.vendor-data", "user.network-config", "user.meta-data":
			return true
		}
		return strings.HasPrefix(key, "cloud-init.")
	})
}

// interfaces are the NICs by their names among the devices, with the names they are given inside.
func interfaces(devices map[string]device.Config) map[string]string {
	names := map[string]string{}
	for name, cfg := range devices {
		if cfg["type"] == "nic" {
			names[name] = cfg["name"]
		}
	}
	return names
}

// difference is what has to happen to devices. A changed one is in gone and in added.
type difference struct {
	gone, added []string
	changed     []string // both, those with a change at all
}

func diffDevices(before, after map[string]device.Config) difference {
	var d difference
	for _, name := range sortedNames(before) {
		now, still := after[name]
		if still && maps.Equal(before[name], now) {
			continue
		}
		if still && isRoot(before[name]) && isRoot(now) {
			continue // its quota is not a matter of plugging
		}
		d.gone = append(d.gone, name)
		if still {
			d.changed = append(d.changed, name)
		}
	}
	for _, name := range sortedNames(after) {
		was, before := before[name]
		if !before || slices.Contains(d.gone, name) {
			if isRoot(after[name]) && isRoot(was) {
				continue
			}
			d.added = append(d.added, name)
		}
	}
	slices.Reverse(d.gone)
	return d
}
