package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Store is an engine with the model in memory over it.
type Store struct {
	engine Engine
	tables map[string]table // by prefix; fixed once Load was called

	loaded bool
	seen   progress
	follow sync.WaitGroup
	cancel context.CancelFunc // ends the following of the engine
}

// table is what the store needs of a Table[T].
type table interface {
	decode(op *Op) error
	load(scan func(each func(Entry) error) (Revision, error)) (Revision, error)
	apply(events []Event) // of a commit; passes over those of other tables
}

// New makes a store over engine. Tables are added with NewTable, then Load fills them.
func New(engine Engine) *Store {
	return &Store{engine: engine, tables: map[string]table{}, cancel: func() {}}
}

// Load reads every table from the engine, and has them follow it until Close. It is called once, after the last NewTable
// and before the first use of a table.
func (s *Store) Load(ctx context.Context) error {
	from, err := s.load(ctx)
	if err != nil {
		return err
	}
	s.loaded = true
	s.seen.reach(from)
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.follow.Go(func() { s.followEngine(following) })
	if e, ok := s.engine.(interface{ Loaded() }); ok { // what reading everything has taken can go
		e.Loaded()
	}
	return nil
}

// scanAttempts bounds how often a table is read again because the engine forgot what it was being read at.
const scanAttempts = 5

// load reads every table, each as of a revision of its own, and returns the first of these.
func (s *Store) load(ctx context.Context) (Revision, error) {
	// Two tables can be as long as all the others together: snapshots, and their volumes.
	var all errgroup.Group
	var mu sync.Mutex
	var first Revision
	some := false
	for prefix, t := range s.tables {
		all.Go(func() error {
			scan := func(each func(Entry) error) (Revision, error) { return s.engine.Scan(ctx, prefix, each) }
			at, err := t.load(scan)
			for n := 1; errors.Is(err, ErrTooOld) && n < scanAttempts; n++ {
				at, err = t.load(scan)
			}
			if err != nil {
				return fmt.Errorf("load %s: %w", prefix, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !some || at < first {
				first, some = at, true
			}
			return nil
		})
	}
	return first, all.Wait()
}

// The pauses between attempts to follow an engine that cannot be reached.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
)

// followEngine has the tables follow the engine until ctx ends or the engine is closed.
func (s *Store) followEngine(ctx context.Context) {
	defer s.seen.end()
	pause := firstPause
	for {
		before := s.seen.now()
		err := s.engine.Watch(ctx, "/", before, s.apply)
		if errors.Is(err, ErrTooOld) {
			var at Revision
			if at, err = s.load(ctx); err == nil {
				s.seen.reach(at)
				continue
			}
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		if s.seen.now() > before {
			pause = firstPause
		}
		slog.Warn("The store is not being followed", "again_in", pause, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// apply brings the tables up to a commit, whoever made it.
func (s *Store) apply(events []Event) {
	for _, t := range s.tables {
		t.apply(events)
	}
	s.seen.reach(events[0].Revision)
}

// Commit writes all ops or none, durably, and brings the tables up to date before it returns. Commits that come at
// the same time share the cost of the disk. For its errors see Engine.
func (s *Store) Commit(ctx context.Context, ops ...Op) (Revision, error) {
	ops = slices.Clone(ops)
	for i := range ops {
		t, ok := s.tables[prefixOf(ops[i].Key)]
		if !ok || ops[i].Check {
			continue
		}
		if err := t.decode(&ops[i]); err != nil {
			return 0, err
		}
	}
	rev, err := s.engine.Commit(ctx, ops)
	if err != nil && !errors.Is(err, ErrConflict) {
		return 0, err
	}
	if !s.loaded { // nobody reads the tables
		return rev, err
	}
	// What a commit conflicted with is waited for too: its caller looks again.
	if behind := s.seen.wait(ctx, rev); behind != nil && err == nil {
		return rev, fmt.Errorf("commit %d was made, and the tables do not show it yet: %w: %w", rev, ErrUnknownOutcome, behind)
	}
	return rev, err
}

// Engine gives access to the engine, for dumps and checks.
func (s *Store) Engine() Engine { return s.engine }

// Close closes the engine. Tables stay readable.
func (s *Store) Close() error {
	s.cancel()
	err := s.engine.Close()
	s.follow.Wait()
	return err
}

// prefixOf returns the first element of a key with both its slashes: "/instances/" of "/instances/a/b".
func prefixOf(key string) string {
	if key == "" {
		return ""
	}
	if i := strings.IndexByte(key[1:], '/'); i >= 0 {
		return key[:i+2]
	}
	return key
}
