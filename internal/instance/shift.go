package instance

import (
	"context"
	"path/filepath"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/spec"
)

var (
	shiftBegun = fault.New("instance.shift.begun")
	shiftDone  = fault.New("instance.shift.done")
)

// onDisk is the map that the owners of an instance's files are shifted to; empty where they are plain IDs, as they
// are wherever the file system can be seen through a map instead.
func onDisk(b *Body) []spec.IDMapEntry {
	m, err := idmap.Decode(b.Config[lastIDMap])
	if err != nil {
		return nil
	}
	return m
}

const lastIDMap = "volatile.last_state.idmap"

// unshifted tells whether the instance's volume can be seen through a map.
func (s *Service) unshifted(i *Instance) bool {
	return s.Host.Unshifted == nil || s.Host.Unshifted(i.Pool)
}

// shift brings the owners of an instance's files in line with how its next run will see them: plain IDs where the
// file system can be mapped or the instance is privileged, those of its map otherwise. The volume must be mounted and
// not in use.
//
// The record says, before each walk, which map some of the files may have. Whatever instant a walk is cut off at, the
// way back from that map brings all of them to plain IDs, and the way there can begin again.
func (s *Service) shift(ctx context.Context, i *Instance, e *effective) error {
	var want []spec.IDMapEntry
	if !s.unshifted(i) {
		want = e.IDMap
	}
	have := onDisk(&i.Body)
	if !i.Shifting && idmap.Encode(have) == idmap.Encode(want) {
		return nil
	}
	if config.IsTrue(e.Config["security.protection.shift"]) {
		return api.BadRequest("Container is protected against filesystem shifting")
	}
	root := filepath.Join(s.Volumes.Path(i.volume()), "rootfs")
	if len(have) > 0 {
		if err := s.noteShift(ctx, i, have, true); err != nil {
			return err
		}
		if err := idmap.Unshift(ctx, root, have); err != nil {
			return err
		}
		if err := s.noteShift(ctx, i, nil, false); err != nil {
			return err
		}
	}
	if len(want) == 0 {
		return s.noteShift(ctx, i, nil, false)
	}
	if err := s.noteShift(ctx, i, want, true); err != nil {
		return err
	}
	if err := shiftBegun.Hit(); err != nil {
		return err
	}
	if err := idmap.Shift(ctx, root, want); err != nil {
		return err
	}
	if err := shiftDone.Hit(); err != nil {
		return err
	}
	return s.noteShift(ctx, i, want, false)
}

// noteShift keeps in the record, and in i, how far a shift has got.
func (s *Service) noteShift(ctx context.Context, i *Instance, m []spec.IDMapEntry, under bool) error {
	text := idmap.Encode(m)
	if i.Config[lastIDMap] == text && i.Shifting == under {
		return nil
	}
	i.Config[lastIDMap], i.Shifting = text, under
	return s.modify(ctx, i.Project, i.Name, func(stored *Instance) error {
		stored.Config[lastIDMap], stored.Shifting = text, under
		return nil
	})
}

// owned takes over from a body how the owners of its files are.
func (b *Body) owned(from *Body) {
	if m := from.Config[lastIDMap]; m != "" {
		b.Config[lastIDMap] = m
	}
	b.Shifting = from.Shifting
}
