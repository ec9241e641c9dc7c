package network

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/netstate"
)

// Create makes a network and brings it up.
func (s *Service) Create(ctx context.Context, project string, req api.NetworksPost) error {
	if err := checkName(req.Name); err != nil {
		return err
	}
	if req.Type == "" {
		req.Type = "bridge"
	}
	if err := checkType(req.Type); err != nil {
		return err
	}
	ctx, letGo, err := s.Projects.Hold(ctx, "create", project)
	if err != nil {
		return err
	}
	defer letGo()
	if project, err = s.homeFor(ctx, project); err != nil {
		return err
	}
	if project != api.ProjectDefault {
		return api.BadRequest("Network type does not support non-default projects") // each has a name on the host, where there is one of each
	}
	release, err := s.claim(ctx, "create", project, req.Name)
	if err != nil {
		return err
	}
	defer release()
	if _, ok := s.byInterface(req.Name); ok {
		return api.BadRequest("The network already exists")
	}
	r := record{Project: project, Name: req.Name, Type: req.Type, UUID: uuid.NewString(), Description: req.Description,
		Config: config.WithoutEmpty(req.Config), HWAddr: randomMAC()}
	if err := validate(r.Name, r.Config); err != nil {
		return err
	}
	if _, ok := netstate.Find(r.Name); ok {
		return api.BadRequest("Network interface %q already exists", r.Name)
	}
	if err := s.fill(&r, true); err != nil {
		return err
	}
	defer s.filled(r)
	if err := s.create(ctx, r); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, project, "network-created", url(project, r.Name), nil)
	return nil
}

func (s *Service) create(ctx context.Context, r record) error {
	entry, err := s.Journal.Begin(ctx, kindCreate, change{Project: r.Project, Name: r.Name, UUID: r.UUID})
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		createBegun.Hit,
		func() error { return claimFolder(s.dir(r.Name), r.UUID) },
		createFolder.Hit,
		func() error { return s.up(ctx, r) },
		createUp.Hit,
		func() error {
			_, err := s.Store.Commit(ctx, s.table.Create(&r, r.Project, r.Name), entry.Done())
			return err
		},
	} {
		if err := step(); err != nil {
			undo, cancel := undoing(ctx)
			defer cancel()
			s.gone(undo, r)
			if uerr := s.remove(undo, r.Name, r.UUID); uerr != nil {
				return errors.Join(err, uerr) // the journal's entry stays, for the next start
			}
			return errors.Join(refusal(err, r.Name), entry.Close(undo))
		}
	}
	return nil
}

// refusal gives the error about an interface that somebody else made first the text and status of the API.
func refusal(err error, name string) error {
	if errors.Is(err, bridge.ErrForeign) {
		return api.BadRequest("Network interface %q already exists", name)
	}
	return err
}

// remove removes from the host what was made for the network with that UUID. What belongs to another network of the same name stays.
func (s *Service) remove(ctx context.Context, name, id string) error {
	dir := s.dir(name)
	mine, err := ownsFolder(dir, id)
	if err != nil {
		return err
	}
	if !mine {
		dir = ""
	}
	if err := bridge.Down(ctx, name, id, dir); err != nil {
		return err
	}
	if err := s.AppArmor.Remove(apparmor.Dnsmasq, id); err != nil {
		return err
	}
	if err := deleteDown.Hit(); err != nil || !mine {
		return err
	}
	return removeFolder(dir)
}
