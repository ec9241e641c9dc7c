package instance

import (
	"context"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/spec"
)

// Confiner is a Runtime that has profiles of a security module for its instances.
type Confiner interface {
	// CheckAppArmor tells whether raw.apparmor means something (api.BadRequest).
	CheckAppArmor(ctx context.Context, raw string) error
	// Confine replaces the profile of a running instance, for all of its processes at once.
	Confine(ctx context.Context, id string, c spec.Confinement) error
	// Forget removes what is kept for an instance beyond its runs. That there is nothing is no error.
	Forget(id string) error
	// Sweep removes what a daemon that was killed has left; known tells which instances there are.
	Sweep(known func(id string) bool) error
}

// confinement is what the keys say of the profile.
func confinement(c map[string]string) spec.Confinement {
	return spec.Confinement{
		Privileged: config.IsTrue(c["security.privileged"]), Nesting: config.IsTrue(c["security.nesting"]), RawAppArmor: c["raw.apparmor"],
	}
}

// confinementChanges tells whether a running instance needs another profile. Whether it is privileged changes with its
// next start.
func (s *Service) confinementChanges(before, after *effective) bool {
	was, now := confinement(before.Config), confinement(after.Config)
	now.Privileged = was.Privileged
	_, ok := s.Runtime.(Confiner)
	return ok && was != now
}

// confine brings a running instance under the profile of a configuration, with the ID map that it has.
func (s *Service) confine(ctx context.Context, i *Instance, c map[string]string) error {
	confiner, ok := s.Runtime.(Confiner)
	if !ok {
		return nil
	}
	now := confinement(c)
	if m, err := idmap.Decode(i.Config["volatile.idmap.current"]); err == nil {
		now.Privileged = len(m) == 0
	}
	return confiner.Confine(ctx, i.id(), now)
}

// forgetConfinement drops what the runtime keeps for an instance that is deleted, or has another name from now on.
func (s *Service) forgetConfinement(i *Instance) {
	if confiner, ok := s.Runtime.(Confiner); ok {
		if err := confiner.Forget(i.id()); err != nil {
			s.Log.Error("profile of an instance", "instance", i.Name, "project", i.Project, "err", err)
		}
	}
}

// sweepConfinement removes profiles that belong to no instance.
func (s *Service) sweepConfinement(known map[string]bool) error {
	if confiner, ok := s.Runtime.(Confiner); ok {
		return confiner.Sweep(func(id string) bool { return known[id] })
	}
	return nil
}
