package image

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// upkeepEvery is how often images are looked at: their terms are counted in hours and days.
const upkeepEvery = time.Hour

// updateTime bounds the update of one image: a server that sends a little now and then would keep it from the others for ever.
const updateTime = 2 * time.Hour

// updatesAtOnce bounds how many images are updated at once, one of each project. Projects have their turns image by image, in the order in which they ask:
// however many slow images one has, it keeps one place from the others.
const updatesAtOnce = 8

// number is a setting that counts something; 0 if there is none.
func (s *Service) number(project, key string) int {
	if s.Setting == nil {
		return 0
	}
	n, err := strconv.Atoi(s.Setting(project, key))
	if err != nil {
		return 0
	}
	return n
}

// Upkeep drops cached images that nobody used for long, and updates those that are to be kept up to date, until ctx ends. It
// begins at once. Neither waits for the other, nor one project for the other: a server may be slow.
func (s *Service) Upkeep(ctx context.Context) {
	var updates sync.WaitGroup
	updates.Go(func() { s.keepUpToDate(ctx) })
	everyHour(ctx, func(now time.Time) { s.dropUnused(ctx, now) })
	updates.Wait()
}

// keepUpToDate has the images of each project updated as often as it is to be, until ctx ends.
func (s *Service) keepUpToDate(ctx context.Context) {
	var (
		running sync.WaitGroup
		busy    sync.Map // projects whose images are being updated
		begun   = map[string]time.Time{}
	)
	everyHour(ctx, func(now time.Time) {
		for _, project := range s.projects() {
			hours := s.number(project, "images.auto_update_interval")
			if hours <= 0 || now.Sub(begun[project]) < time.Duration(hours)*time.Hour {
				continue
			}
			if _, at := busy.LoadOrStore(project, true); at {
				continue
			}
			begun[project] = now
			running.Go(func() {
				defer busy.Delete(project)
				s.updateAll(ctx, project)
			})
		}
	})
	running.Wait()
}

// projects lists those that have images of their own.
func (s *Service) projects() []string {
	var names []string
	for _, row := range s.images.List() {
		if n := len(names); n == 0 || names[n-1] != row.Path[0] { // they are in order
			names = append(names, row.Path[0])
		}
	}
	return names
}

// everyHour calls a function now and then each upkeepEvery, until ctx ends.
func everyHour(ctx context.Context, do func(now time.Time)) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		do(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// dropUnused deletes cached images whose last use lies images.remote_cache_expiry days back. Instances made from them do
// not need them.
func (s *Service) dropUnused(ctx context.Context, now time.Time) {
	unused := func(row store.Row[record]) bool {
		days := s.number(row.Path[0], "images.remote_cache_expiry")
		return row.Value.Cached && days > 0 && !now.Before(s.lastUse(row).AddDate(0, 0, days))
	}
	for _, row := range s.images.List() {
		if !unused(row) {
			continue
		}
		err := s.deleteIf(ctx, row.Path[0], row.Path[1], unused) // whoever is at it may be using it
		if api.IsNotFound(err) {
			continue
		}
		if err != nil {
			s.complain(ctx, "A cached image could not be dropped", row, err)
			continue
		}
		s.Events.Lifecycle(ctx, row.Path[0], "image-deleted", urlOf(row.Path...), nil)
	}
}

// lastUse is when an image was used or, if it never was, when it came.
func (s *Service) lastUse(row store.Row[record]) time.Time {
	if u, ok := s.uses.Get(row.Path...); ok && u.Value.At.After(row.Value.UploadedAt) {
		return u.Value.At
	}
	return row.Value.UploadedAt
}

func (s *Service) updateAll(ctx context.Context, project string) {
	wanted := func(r *record) bool { return r.AutoUpdate && r.Source != nil }
	for _, listed := range s.images.List(project) {
		row, there := s.images.Get(listed.Path...) // those before it may have taken hours
		if !there || !wanted(row.Value) || ctx.Err() != nil {
			continue
		}
		err := s.updateOne(ctx, row, wanted)
		if now, there := s.images.Get(row.Path...); err != nil && there && wanted(now.Value) {
			s.complain(ctx, "An image could not be updated", row, err)
		}
	}
}

func (s *Service) updateOne(ctx context.Context, row store.Row[record], wanted func(*record) bool) error {
	select {
	case s.updating <- struct{}{}:
		defer func() { <-s.updating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, updateTime)
	defer cancel()
	return s.refresh(ctx, operation.NoProgress{}, row, wanted)
}

func (s *Service) complain(ctx context.Context, what string, row store.Row[record], err error) {
	if !errors.Is(err, context.Canceled) {
		slog.WarnContext(ctx, what, "project", row.Path[0], "image", row.Path[1], "err", err)
	}
}
