package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// overlay shows one profile as it is about to be.
type overlay struct {
	Profiles
	home          func(project string) string // the project that a project's profiles are in
	project, name string
	config        map[string]string
	devices       map[string]device.Config
}

func (o overlay) Definition(project, name string) (map[string]string, map[string]device.Config, bool) {
	if name == o.name && o.home(project) == o.project {
		return o.config, o.devices, true
	}
	return o.Profiles.Definition(project, name)
}

// ChangeProfile gives a profile, and every instance that uses it, a new content: all of them, or none. The instances are
// held for it, so that what is read of them is so still when it is written. The caller holds the profile, so that no others
// come; write is the op that writes it. What is not to be had soon fails with a lock.Busy, as in HoldUsers: the instances and the profile are wanted by
// others meanwhile.
func (s *Service) ChangeProfile(ctx context.Context, project, name string, c map[string]string, devices map[string]device.Config, write store.Op) error {
	return s.discreet(ctx, project, name, s.changeProfile(ctx, project, name, c, devices, write))
}

func (s *Service) changeProfile(ctx context.Context, project, name string, c map[string]string, devices map[string]device.Config, write store.Op) error {
	release, err := s.HoldUsers(ctx, "update", project, name)
	if err != nil {
		return err
	}
	defer release()
	named, err := s.Locks.Acquire(ctx, claim("update", lock.Soon), s.usedByUsers(project, name, devices)...)
	if err != nil {
		return err
	}
	defer named.Release()
	ids, err := s.Locks.Acquire(ctx, claim("update", lock.Soon), lock.Exclusive(lock.ForIDs()))
	if err != nil {
		return err
	}
	defer ids.Release()
	users := slices.DeleteFunc(s.profileUsers(project, name), func(row store.Row[Instance]) bool { return row.Value.Creating })
	future := &Service{Deps: s.Deps, instances: s.instances, snapshots: s.snapshots, background: s.background} // to check with
	future.Profiles = overlay{Profiles: s.Profiles, home: s.homeOfProfiles, project: project, name: name, config: c, devices: devices}
	admitted, err := s.admitAll(ctx, "profile update", users, future.effectiveOf)
	if err != nil {
		return err
	}
	defer admitted()
	var steps []*step
	newBlocks := false
	for _, row := range users {
		i := row.Value
		after, err := future.check(ctx, i, i)
		if err != nil {
			if e := future.effectiveOf(i); e.Root == "" || e.Devices[e.Root]["pool"] != i.Pool {
				err = api.BadRequest("At least one instance relies on this profile's root disk device")
			}
			return &cannotFollow{i.Project, i.Name, err}
		}
		before := s.effectiveOf(i)
		if err := refused(togetherChecks, before.Config, after.Config); err != nil {
			return &cannotFollow{i.Project, i.Name, fmt.Errorf("Instance %q in project %q cannot follow the profile: %w", i.Name, i.Project, err)}
		}
		if r, ok := blockOf(idmap.Encode(after.IDMap)); ok && after.isolated() {
			future.promised = append(future.promised, r) // the next one must not be given it too
			newBlocks = newBlocks || !sameBlock(i, after)
		}
		st, err := s.plan(ctx, i, i.clone(), before, after)
		if err != nil {
			return &cannotFollow{i.Project, i.Name, fmt.Errorf("Instance %q in project %q cannot follow the profile: %w", i.Name, i.Project, err)}
		}
		steps = append(steps, st)
	}
	if !newBlocks {
		ids.Release() // guests are changed from here on, and a hostile one takes its time
	}
	mark := &profileMark{Project: project, Name: name, Digest: digest(c, devices)}
	if len(steps) > maxTogether {
		for _, st := range steps {
			st.record.Profile = mark
		}
	}
	return s.carryOut(ctx, steps, func(ctx context.Context) error { return s.commitProfile(ctx, steps, write) })
}

// maxTogether is how many instances follow a profile in one commit: each needs three ops of it, and a commit has room for
// about a hundred.
const maxTogether = 30

// commitProfile writes a profile and the instances that follow it.
func (s *Service) commitProfile(ctx context.Context, steps []*step, write store.Op) error {
	for n := 0; n == 0 || n < len(steps); n += maxTogether {
		some := steps[n:min(n+maxTogether, len(steps))]
		err := s.commitSteps(ctx, some, write, n == 0)
		switch {
		case err == nil:
		case n == 0:
			return err
		default:
			// The profile is written, so all follow it; by their entries the next start keeps that they do.
			s.Log.Error("What instances have could not be kept", "err", err)
			for _, st := range some {
				st.uncommitted = true
			}
		}
	}
	return nil
}

// commitSteps is one commit of commitProfile. It is tried again if something else was written to a record meanwhile.
func (s *Service) commitSteps(ctx context.Context, steps []*step, write store.Op, first bool) error {
	for {
		var ops []store.Op
		if first {
			ops = append(ops, write)
		}
		var rows []store.Row[Instance]
		for _, st := range steps {
			row, err := s.get(st.old.Project, st.old.Name)
			if err != nil {
				return err
			}
			rows = append(rows, row)
			if changes := changedKeys(st.old.Config, st.next.Config); len(changes) > 0 {
				next := row.Value.clone()
				setKeys(next.Config, changes)
				ops = append(ops, s.instances.Replace(row, next))
			}
			ops = append(ops, s.ops(st)...)
		}
		_, err := s.Store.Commit(ctx, ops...)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if !slices.ContainsFunc(rows, func(row store.Row[Instance]) bool {
			now, err := s.get(row.Value.Project, row.Value.Name)
			return err != nil || now.Revision != row.Revision
		}) {
			return err // it is the profile that is another by now
		}
	}
}

// changedKeys are the keys that differ, with their new values; "" for one that has gone.
func changedKeys(old, next map[string]string) map[string]string {
	changes := map[string]string{}
	for key := range old {
		if _, kept := next[key]; !kept {
			changes[key] = ""
		}
	}
	for key, v := range next {
		if old[key] != v {
			changes[key] = v
		}
	}
	return changes
}

func setKeys(c, changes map[string]string) {
	for key, v := range changes {
		if v == "" {
			delete(c, key)
		} else {
			c[key] = v
		}
	}
}

// profileMark is a content of a profile.
type profileMark struct {
	Project string `json:"project"`
	Name    string `json:"name"`
	Digest  string `json:"digest"`
}

func digest(c map[string]string, devices map[string]device.Config) string {
	if len(c) == 0 {
		c = map[string]string{}
	}
	if len(devices) == 0 {
		devices = map[string]device.Config{}
	}
	data, err := json.Marshal([]any{c, devices})
	if err != nil {
		panic(fmt.Sprintf("instance: encode a profile: %v", err)) // maps of strings
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// follows tells whether a profile has the content that a mark is of.
func (s *Service) follows(m *profileMark) bool {
	c, devices, ok := s.Profiles.Definition(m.Project, m.Name)
	return ok && digest(c, devices) == m.Digest
}

// commitPlan writes what a step that was cut off would have written next.
func (s *Service) commitPlan(ctx context.Context, i *Instance, record *stepRecord) error {
	var with []store.Op
	if s.running(i) {
		with = append(with, s.putLive(i, record.After))
	}
	return s.modify(ctx, i.Project, i.Name, func(stored *Instance) error {
		setKeys(stored.Config, record.Record)
		return nil
	}, with...)
}
