package project

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// Create makes a project. It has images, profiles and custom volumes of its own unless the request says otherwise, and shares its networks.
func (s *Service) Create(ctx context.Context, req api.ProjectsPost) error {
	if err := checkName(req.Name); err != nil {
		return err
	}
	r := &record{Description: req.Description, Config: config.WithoutEmpty(req.Config), UUID: uuid.NewString()}
	for _, kind := range []Kind{Images, Profiles, Volumes} {
		if r.Config[kind.key()] == "" {
			r.Config[kind.key()] = "true"
		}
	}
	if err := check(nil, r.Config); err != nil {
		return err
	}
	if err := s.checkSubnets(nil, r.Config); err != nil {
		return err
	}
	s.Journal.Settle(ctx, nameObject(req.Name), never)
	held, err := s.hold(ctx, "create", req.Name)
	if err != nil {
		return err
	}
	defer held.Release()
	if err := s.unsettled(req.Name); err != nil {
		return err
	}
	if s.Check(req.Name) == nil {
		return errExists(req.Name)
	}
	_, err = s.Store.Commit(ctx, append(s.defaultProfile(nil, r.Config, req.Name), s.table.Create(r, req.Name))...)
	if errors.Is(err, store.ErrConflict) {
		return errExists(req.Name)
	}
	if err != nil {
		return err
	}
	s.publish(ctx, "created", req.Name, nil)
	return nil
}

// Put replaces a project's configuration. match gets the version that the request is about.
func (s *Service) Put(ctx context.Context, name string, put api.ProjectPut, match func(store.Revision) error) error {
	return s.change(ctx, name, match, func(was *record) *record {
		next := &record{Description: put.Description, Config: config.WithoutEmpty(put.Config)}
		if name == api.ProjectDefault { // its features cannot be changed, so they need not be said
			for _, kind := range kinds {
				setDefault(next.Config, kind.key(), was.Config[kind.key()])
			}
		}
		return next
	})
}

// Patch changes what the request names; describe tells whether that is the description, too. An empty value unsets a key.
func (s *Service) Patch(ctx context.Context, name string, put api.ProjectPut, describe bool, match func(store.Revision) error) error {
	return s.change(ctx, name, match, func(was *record) *record {
		next := &record{Description: was.Description, Config: maps.Clone(was.Config)}
		if next.Config == nil {
			next.Config = map[string]string{}
		}
		maps.Copy(next.Config, put.Config)
		next.Config = config.WithoutEmpty(next.Config)
		if describe {
			next.Description = put.Description
		}
		return next
	})
}

func (s *Service) change(ctx context.Context, name string, match func(store.Revision) error, edit func(*record) *record) error {
	for alone := false; ; alone = true {
		err := s.tryChange(ctx, name, alone, match, edit)
		if !errors.Is(err, errFeatures) {
			return err
		}
	}
}

// errFeatures is that of a change that needs the project for itself.
var errFeatures = errors.New("project: other features")

// tryChange makes a change. Other features need the project for themselves, and are refused with errFeatures without; for all else, what
// is being made in the project goes on.
func (s *Service) tryChange(ctx context.Context, name string, alone bool, match func(store.Revision) error, edit func(*record) *record) error {
	if alone {
		held, err := s.hold(ctx, "update", name)
		if err != nil {
			return err
		}
		defer held.Release()
	}
	if err := s.commitChange(ctx, name, alone, match, edit); err != nil {
		return err
	}
	s.publish(ctx, "updated", name, nil)
	return nil
}

// commitChange checks a change and writes it. Nothing is admitted in between.
func (s *Service) commitChange(ctx context.Context, name string, alone bool, match func(store.Revision) error, edit func(*record) *record) error {
	s.admissions.Lock()
	defer s.admissions.Unlock()
	row, err := s.row(name)
	if err != nil {
		return err
	}
	if err := match(row.Revision); err != nil {
		return err
	}
	was, next := row.Value.Config, edit(row.Value)
	next.UUID = row.Value.UUID
	for _, check := range []func() error{
		func() error { return check(was, next.Config) },
		func() error { return s.checkSubnets(was, next.Config) },
		func() error { return s.checkFeatures(name, was, next.Config) },
		func() error { return needsAlone(alone, was, next.Config) },
		func() error { return s.checkLimits(name, was, next.Config) },
		func() error { return s.checkRestrictions(name, was, next.Config) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	_, err = s.Store.Commit(ctx, append(s.defaultProfile(was, next.Config, name), s.table.Replace(row, next))...)
	return err
}

// needsAlone is errFeatures for a change that has not got the project for itself and needs it.
func needsAlone(alone bool, was, now map[string]string) error {
	if !alone && !sameFeatures(was, now) {
		return errFeatures
	}
	return nil
}

func sameFeatures(a, b map[string]string) bool {
	return !slices.ContainsFunc(kinds, func(k Kind) bool { return config.IsTrue(a[k.key()]) != config.IsTrue(b[k.key()]) })
}

// Rename checks a request for another name and returns the work.
func (s *Service) Rename(ctx context.Context, name, newName string) (*operation.Task, error) {
	if name == api.ProjectDefault {
		return nil, api.Forbidden("The 'default' project cannot be renamed")
	}
	if err := errors.Join(s.Check(name), checkName(newName)); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Renaming project",
		Resources:   map[string][]string{"projects": {URL("", "projects", name)}},
		Run:         func(ctx context.Context, _ operation.Progress) error { return s.rename(ctx, name, newName) },
	}, nil
}

func (s *Service) rename(ctx context.Context, name, newName string) error {
	s.Journal.Settle(ctx, nameObject(newName), never)
	renamable := func(row store.Row[record]) error {
		if err := s.unsettled(newName); err != nil {
			return err
		}
		switch {
		case s.Check(newName) == nil:
			return api.Conflict("A project named %q already exists", newName)
		case !s.empty(name):
			return api.BadRequest("Only empty projects can be renamed")
		}
		return nil
	}
	err := s.takeAway(ctx, "rename", []string{name, newName}, renamable, func(row store.Row[record]) []store.Op {
		return append(s.Profiles().MoveDefault(name, newName), s.table.RemoveAt(row.Revision, name), s.table.Create(row.Value, newName))
	}, func(ctx context.Context, ops []store.Op) error { return s.commitRename(ctx, name, newName, ops) })
	if err != nil {
		return err
	}
	s.publish(ctx, "renamed", newName, map[string]any{"old_name": name})
	return nil
}

// Delete deletes a project in which nothing is.
func (s *Service) Delete(ctx context.Context, name string) error {
	if name == api.ProjectDefault {
		return api.Forbidden("The 'default' project cannot be deleted")
	}
	deletable := func(store.Row[record]) error {
		if !s.empty(name) {
			return api.BadRequest("Only empty projects can be removed")
		}
		return nil
	}
	err := s.takeAway(ctx, "delete", []string{name}, deletable, func(row store.Row[record]) []store.Op {
		return append(s.defaultProfile(row.Value.Config, nil, name), s.table.RemoveAt(row.Revision, name))
	}, func(ctx context.Context, ops []store.Op) error { // cut off, it leaves certificates with less than they had, and the project to be deleted again
		return s.commitNamed(ctx, ops, func(c CertificatesOf) []store.Op { return c.RemoveProject(name) }, func() error { return nil })
	})
	if err != nil {
		return err
	}
	s.publish(ctx, "deleted", name, nil)
	return nil
}

// takeAway writes what takes a project, the first of some names, from where it is. What is refused anyway is refused before anything is held
// for it: whoever makes something in the project need not wait for that. commit writes the ops, and what names the project follows.
func (s *Service) takeAway(ctx context.Context, action string, names []string, check func(store.Row[record]) error, ops func(store.Row[record]) []store.Op,
	commit func(context.Context, []store.Op) error,
) error {
	look := func() (store.Row[record], error) {
		row, err := s.row(names[0])
		if err != nil {
			return row, api.NotFound("Fetch project %q: %w", names[0], err)
		}
		return row, check(row)
	}
	if _, err := look(); err != nil {
		return err
	}
	held, err := s.hold(ctx, action, names...)
	if err != nil {
		return err
	}
	defer held.Release()
	if _, err := look(); err != nil {
		return err
	}
	if s.EndOperations != nil {
		s.EndOperations(ctx, names[0])
	}
	s.admissions.Lock() // as commitChange does: what it writes is there before this looks, or finds no project
	defer s.admissions.Unlock()
	row, err := look()
	if err != nil {
		return err
	}
	return commit(ctx, ops(row))
}

// hold claims projects, with their default profiles, which come, go and change with them.
func (s *Service) hold(ctx context.Context, action string, names ...string) (*lock.Held, error) {
	var wants []lock.Want
	for _, name := range names {
		wants = append(wants, lock.Exclusive(lock.ForProject(name)), lock.Exclusive(lock.ForProfile(name, api.ProjectDefault)))
	}
	return s.Locks.Acquire(ctx, lock.Claim{Action: action, Brief: true, Patience: lock.Long}, wants...)
}

func errExists(name string) error {
	return api.Conflict("Failed creating project %q: Failed adding database record: This \"projects\" entry already exists", name)
}

// check validates a configuration, and refuses what is new in it and has no effect on this server.
func check(was, now map[string]string) error {
	if err := Keys.Validate(now); err != nil {
		return err
	}
	if err := Keys.CheckSupported(was, now); err != nil {
		return err
	}
	// The default project's profiles are held to no restriction: whoever is let write those of a project would write them for all.
	if sharesProfiles(now) && !sharesProfiles(was) {
		return api.BadRequest("Projects without their own profiles cannot be restricted (%s=%q, %s=%q)", restrictedKey, now[restrictedKey], Profiles.key(), now[Profiles.key()])
	}
	return nil
}

// sharesProfiles tells a restricted project without profiles of its own.
func sharesProfiles(c map[string]string) bool {
	return config.IsTrue(c[restrictedKey]) && !config.IsTrue(c[Profiles.key()])
}

// checkFeatures refuses other features where something would be lost from sight, or come into it.
func (s *Service) checkFeatures(name string, was, now map[string]string) error {
	for _, kind := range kinds {
		before, after := config.IsTrue(was[kind.key()]), config.IsTrue(now[kind.key()])
		switch {
		case before == after:
		case name == api.ProjectDefault:
			return api.BadRequest("You can't change the features of the default project")
		case !s.empty(name):
			how := "disabled"
			if after {
				how = "enabled"
			}
			return api.BadRequest("Project feature %q cannot be %s on non-empty projects", kind.key(), how)
		}
	}
	return nil
}

// empty tells whether nothing is in a project but its default profile.
func (s *Service) empty(name string) bool {
	own := URL(name, "profiles", "default")
	return !slices.ContainsFunc(s.Users(name), func(url string) bool { return url != own })
}

// defaultProfile are the ops that a project's default profile comes or goes by, when its configuration changes; nil is that of no project.
func (s *Service) defaultProfile(was, now map[string]string, name string) []store.Op {
	before, after := config.IsTrue(was[Profiles.key()]), config.IsTrue(now[Profiles.key()])
	switch {
	case after && !before:
		return []store.Op{s.Profiles().CreateDefault(name)}
	case before && !after:
		return s.Profiles().RemoveDefault(name)
	}
	return nil
}

func (s *Service) publish(ctx context.Context, what, name string, details map[string]any) {
	s.Events.Lifecycle(ctx, name, "project-"+what, URL("", "projects", name), details)
}

func setDefault(c map[string]string, key, value string) {
	if c[key] == "" && value != "" {
		c[key] = value
	}
}
