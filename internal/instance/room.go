package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/operation"
)

// fillFromImage makes the volume of i from an image. The image must fit into the size of i's root disk, whether it is unpacked now or
// was before.
func (s *Service) fillFromImage(ctx context.Context, i *Instance, fingerprint string, p operation.Progress) error {
	e := s.effectiveOf(i)
	quota, _ := config.ParseSize(e.Devices[e.Root]["size"]) // checked with the rest of the configuration
	prepared, err := s.Images.Prepared(i.Project, fingerprint)
	if err != nil {
		return err
	}
	key := i.Pool + " " + prepared
	unpacked := false
	err = s.Volumes.CreateFromImage(ctx, i.volume(), prepared, func(ctx context.Context, dir string) error {
		room := diskspace.New(dir, fmt.Sprintf("storage pool %q", i.Pool), quota)
		if err := s.Images.Unpack(ctx, i.Project, fingerprint, prepared, dir, room, unpackProgress(p)); err != nil {
			return err
		}
		unpacked = true
		s.imageSizes.Store(key, room.Taken())
		return nil
	})
	if err != nil || unpacked || quota == 0 {
		return err
	}
	size, err := s.imageSize(ctx, i, key)
	if err != nil {
		return err
	}
	if size > quota {
		return &diskspace.Full{What: "bytes", Needed: size, Quota: quota}
	}
	return nil
}

// imageSize is how many bytes the image of i takes, counted in i's new volume unless it is known already.
func (s *Service) imageSize(ctx context.Context, i *Instance, key string) (int64, error) {
	if known, ok := s.imageSizes.Load(key); ok {
		if size, ok := known.(int64); ok {
			return size, nil
		}
	}
	size, err := s.volumeSize(ctx, i)
	if err == nil {
		s.imageSizes.Store(key, size)
	}
	return size, err
}

// volumeSize counts the bytes that the files of a new volume take. Nobody uses the volume yet, so paths are safe: no link is followed.
func (s *Service) volumeSize(ctx context.Context, i *Instance) (size int64, err error) {
	release, err := s.Volumes.Mount(ctx, i.volume())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	seen := map[uint64]bool{}
	err = filepath.WalkDir(s.Volumes.Path(i.volume()), func(_ string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
			if st.Nlink > 1 && !d.IsDir() {
				seen[st.Ino] = true
			}
			size += st.Blocks * 512
		}
		return nil
	})
	return size, err
}
