package store

import (
	"context"
	"errors"
	"time"
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
	ErrTooLarge     = errors.New("the commit is too large")
	ErrNoLease      = errors.New("the lease has ended")

	// ErrUnavailable is that those who keep the store cannot be reached, or cannot go on. Nothing was changed.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrUnknownOutcome is that a commit may have been made, or may still be, or not: read what it was to write.
	ErrUnknownOutcome = errors.New("it is not known whether the commit was made")
)

// Entry is one key with its value.
type Entry struct {
	Key      string
	Value    []byte
	Revision Revision // of the commit that wrote the value
}

// Event is one change that a commit made. Of a deletion Revision is the commit's, and there is no value.
type Event struct {
	Entry
	Deleted bool

	decoded any // of the op that made it, if that is at hand
}

// Engine makes commits durable. All methods are safe for concurrent use.
type Engine interface {
	// Scan calls each for every entry whose key starts with prefix, in key order, as of one revision, which it returns. Value
	// is valid during the call only; an error of each ends the scan and is returned. ErrTooOld: it took so long that the
	// engine let go of that revision; what was shown is to be forgotten.
	Scan(ctx context.Context, prefix string, each func(Entry) error) (Revision, error)
	// Commit writes all ops or none and returns the revision of what it wrote. With ErrConflict comes a revision at which
	// a guard did not hold. The values of ops must not be changed afterwards.
	Commit(ctx context.Context, ops []Op) (Revision, error)
	// Watch calls deliver for each commit after revision `after` that touches prefix, with its events there, one commit at a
	// time and in order; deliver must be quick and must not commit. It returns when ctx ends, with its error; when the engine
	// is closed, ErrClosed; when the revision is too long ago, ErrTooOld; or when the watch broke. From then on
	// deliver is not called any more.
	Watch(ctx context.Context, prefix string, after Revision, deliver func([]Event)) error
	Leases
	Close() error
}

// LeaseID names a lease of one engine; 0 is none.
type LeaseID int64

// Leases are of an engine: what keeps keys for as long as somebody lives.
type Leases interface {
	// Grant makes a lease that ends when it has not been renewed for ttl, which the engine may round up to some seconds.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// Renew gives a lease its whole time again. ErrNoLease: it has ended.
	Renew(ctx context.Context, id LeaseID) error
	// Revoke ends a lease and deletes its keys before it returns. That it has ended before is no error.
	Revoke(ctx context.Context, id LeaseID) error
}

// List returns every entry whose key starts with prefix, in key order, and the revision it was read at.
func List(ctx context.Context, e Engine, prefix string) ([]Entry, Revision, error) {
	var found []Entry
	rev, err := e.Scan(ctx, prefix, func(e Entry) error {
		e.Value = append([]byte{}, e.Value...)
		found = append(found, e)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return found, rev, nil
}
