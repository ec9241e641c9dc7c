// Package store keeps Berth's objects under keys, each with a revision, and the whole model of them in memory.
//
// # Terms
//
// A key is a path such as "/instances/default/web". An entry is a key, its value and the revision of the commit
// that wrote it last; that revision is what the API shows as ETag. A commit writes several keys at once, all or
// none, and may be guarded: it fails with ErrConflict when a guarded key is not at the revision expected of it.
// An Engine makes commits durable; when Commit returns nil the change survives a power cut.
//
// Over an engine stands a Store with its Tables: typed, indexed by path, wholly in memory, and fed by commits.
// Reads never touch the disk. Values read from a table are shared and must not be changed: clone first.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Revision orders commits: a later commit has a greater one. What lies between two of them means nothing. Zero is "before
// the first" and, as a guard, "must not exist".
type Revision uint64

// Errors of an engine. They are wrapped with the key or the path they are about.
var (
	ErrConflict = errors.New("revision conflict")
	ErrLocked   = errors.New("store is in use by another process")
	ErrCorrupt  = errors.New("store is damaged")
	ErrClosed   = errors.New("store is closed")
	ErrNewer    = errors.New("store was written by a newer version")
	ErrTooOld   = errors.New("revision is too long ago to watch from")

	ErrDuplicateKey = errors.New("the commit has this key more than once")
)

// Entry is one key with its value.
type Entry struct {
	Key      string
	Value    []byte
	Revision Revision // of the commit that wrote the value
}

// Event is one change that a commit made.
type Event struct {
	Entry
	Deleted bool
}

// Engine makes commits durable. All methods are safe for concurrent use.
type Engine interface {
	// List returns every entry whose key starts with prefix, in key order, and the revision it was read at.
	List(ctx context.Context, prefix string) ([]Entry, Revision, error)
	// Scan calls each with what List returns, in its order. Value is valid during the call only; an error of each ends the
	// scan and is returned.
	Scan(ctx context.Context, prefix string, each func(Entry) error) error
	// Commit writes all ops or none and returns the revision of what it wrote, or, if that was nothing, one at which it was
	// true. A guard that fails gives ErrConflict, a key that is there twice ErrDuplicateKey.
	Commit(ctx context.Context, ops []Op) (Revision, error)
	// OnCommit sets what is called with what every commit from now on has written, in the order of revisions, once it is
	// durable and before its Commit returns. It must be quick and must not commit. An engine has one.
	OnCommit(apply func(rev Revision, ops []Op))
	// Watch delivers each commit after revision `after` that touches prefix, in order, until ctx ends. The
	// channel is closed when ctx ends or the engine closes. ErrTooOld: list, and watch from there.
	Watch(ctx context.Context, prefix string, after Revision) (<-chan []Event, error)
	Close() error
}

// Store is an engine with the model in memory over it.
type Store struct {
	engine Engine
	tables map[string]table // by prefix; fixed once Load was called
}

// table is what the store needs of a Table[T].
type table interface {
	load(scan func(each func(Entry) error) error) error
	decode(op *Op) error
	apply(rev Revision, op Op)
}

// New makes a store over engine. Tables are added with NewTable, then Load fills them.
func New(engine Engine) *Store {
	return &Store{engine: engine, tables: map[string]table{}}
}

// Load reads every table from the engine. It is called once, after the last NewTable and before the first use of
// a table.
func (s *Store) Load(ctx context.Context) error {
	// Two tables can be as long as all the others together: snapshots, and their volumes.
	var all errgroup.Group
	for prefix, t := range s.tables {
		all.Go(func() error {
			err := t.load(func(each func(Entry) error) error { return s.engine.Scan(ctx, prefix, each) })
			if err != nil {
				return fmt.Errorf("load %s: %w", prefix, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	s.engine.OnCommit(s.apply)
	if e, ok := s.engine.(interface{ Loaded() }); ok { // what reading everything has taken can go
		e.Loaded()
	}
	return nil
}

// Commit writes all ops or none, durably, and brings the tables up to date before it returns. Commits that come at
// the same time share the cost of the disk.
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
	return s.engine.Commit(ctx, ops)
}

func (s *Store) apply(rev Revision, ops []Op) {
	for _, op := range ops {
		if t, ok := s.tables[prefixOf(op.Key)]; ok {
			t.apply(rev, op)
		}
	}
}

// Engine gives access to the engine, for dumps and checks.
func (s *Store) Engine() Engine { return s.engine }

// Close closes the engine. Tables stay readable.
func (s *Store) Close() error { return s.engine.Close() }

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
