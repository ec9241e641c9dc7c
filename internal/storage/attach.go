package storage

import (
	"context"

	"github.com/berthd/berth/api"
)

// The methods in this file are what disk devices need of pools: disk.Pools.

// CustomVolume returns the configuration of a custom volume that can be used. It is shared: not to be changed.
func (s *Service) CustomVolume(pool, project, name string) (map[string]string, error) {
	id := s.custom(pool, project, name)
	row, ok := s.volumes.Get(id.path()...)
	if !ok {
		return nil, errNoVolume()
	}
	if err := s.unsettled(id); err != nil {
		return nil, err
	}
	return row.Value.Config, nil
}

// Attach mounts a custom volume until Detach is called with the same user, a key that the caller chooses. It asks for no unfinished changes: what
// was attached when the daemon ended is so again.
func (s *Service) Attach(ctx context.Context, user, pool, project, name string) (string, error) {
	id := s.custom(pool, project, name)
	if _, ok := s.volumes.Get(id.path()...); !ok {
		return "", errNoVolume()
	}
	unlock, err := s.holdAttachment(ctx, user)
	if err != nil {
		return "", err
	}
	defer unlock()
	s.mu.Lock()
	held, ok := s.attached[user]
	s.mu.Unlock()
	if ok && held.id == id {
		return s.Path(id), nil
	}
	if ok {
		return "", api.Conflict("Volume %q is still attached in the place of %q", held.id.Name, name)
	}
	release, err := s.Mount(ctx, id)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.attached[user] = attachment{id, release}
	s.mu.Unlock()
	return s.Path(id), nil
}

// Detach ends Attach. That nothing is attached is no error.
func (s *Service) Detach(ctx context.Context, user string) error {
	unlock, err := s.holdAttachment(ctx, user)
	if err != nil {
		return err
	}
	defer unlock()
	s.mu.Lock()
	held, ok := s.attached[user]
	delete(s.attached, user)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return held.release()
}

type attachment struct {
	id      VolumeID
	release func() error
}
