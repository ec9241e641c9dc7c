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

// changeConfinement brings a running instance under the profile of a new configuration, and returns how to go back.
func (s *Service) changeConfinement(ctx context.Context, i *Instance, before, after *effective) (undo func() error, err error) {
	was, now := confinement(before.Config), confinement(after.Config)
	// Whether it is privileged changes with its next start: it has its ID map until then.
	if m, err := idmap.Decode(i.Config["volatile.idmap.current"]); err == nil {
		was.Privileged = len(m) == 0
	}
	now.Privileged = was.Privileged
	confiner, ok := s.Runtime.(Confiner)
	if !ok || was == now {
		return func() error { return nil }, nil
	}
	return func() error {
		ctx, cancel := detached(ctx)
		defer cancel()
		return confiner.Confine(ctx, i.id(), was)
	}, confiner.Confine(ctx, i.id(), now)
}

// forgetConfinement drops what the runtime keeps for an instance that is deleted, or has another name from now on.
func (s *Service) forgetConfinement(i *Instance) {
	if confiner, ok := s.Runtime.(Confiner); ok {
		if err := confiner.Forget(i.id()); err != nil {
			s.Log.Error("profile of an instance", "instance", i.Name, "err", err)
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
