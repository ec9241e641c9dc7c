package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/berthd/berth/internal/durable"
	"github.com/berthd/berth/internal/fault"
)

var (
	commitBegun   = fault.New("store.commit.begun")
	commitWritten = fault.New("store.commit.written")
)

// Options tune OpenBolt. The zero value is right for the daemon.
type Options struct {
	// NoBackup skips the copy "<path>.bak" that is otherwise taken of a store that opened and loaded well.
	NoBackup bool

	schema     int // 0: SchemaVersion; tests go beyond
	migrations map[int]Migration
}

// Bolt is the engine of one machine: one bbolt file, one fsync'd transaction for all commits that come at once.
type Bolt struct {
	path   string
	lock   *fileLock
	db     *bolt.DB
	backup bool // a copy is to be kept
	leases *localLeases

	queueMu sync.Mutex
	queue   []*commit

	writeMu  sync.Mutex // held while a batch is written and told of: commits take effect in one order
	broken   error      // set when the file is no longer known to be what we think it is
	closed   bool
	watchers watchers

	background sync.WaitGroup
}

var _ Engine = (*Bolt)(nil)

type commit struct {
	ops     []Op
	ended   LeaseID // whose keys are deleted
	written []Op    // those that changed something
	done    bool
	rev     Revision
	err     error
}

// OpenBolt opens the store at path, or makes one, brings it to the current schema, and holds its lock until Close.
// Errors: ErrLocked, ErrCorrupt, ErrNewer.
func OpenBolt(path string, opts Options) (Engine, error) {
	b, err := openBolt(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return b, nil
}

func openBolt(path string, opts Options) (b *Bolt, err error) {
	if opts.schema == 0 {
		opts.schema, opts.migrations = SchemaVersion, migrations
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.release()
		}
	}()
	if err := durable.Sweep(path); err != nil { // the start of a daemon copies the store: each kill then would leave a whole one
		slog.Warn("Remains of copies of the store cannot be removed", "path", path, "err", err)
	}
	if err := create(path, opts.schema); err != nil {
		return nil, err
	}
	if err := verifyPages(path); err != nil {
		return nil, err
	}
	b = &Bolt{path: path, lock: lock, backup: !opts.NoBackup}
	b.leases = newLocalLeases(b.endLease)
	err = guarded(func() error {
		b.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         200 * time.Millisecond,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: 64 << 20, // address space only; spares readers and writers a remap
		})
		if err != nil {
			return boltError(err)
		}
		b.db.AllocSize = 1 << 20
		return checkDB(b.db)
	})
	if err == nil {
		err = migrate(b.db, path, opts)
	}
	if err == nil {
		err = dropLeased(b.db)
	}
	if err == nil {
		err = b.view(func(tx *bolt.Tx) error {
			b.watchers = newWatchers(revisionOf(tx))
			return nil
		})
	}
	if err != nil {
		if b.db != nil {
			_ = guarded(b.db.Close)
		}
		return nil, err
	}
	return b, nil
}

// Scan implements Engine.
func (b *Bolt) Scan(ctx context.Context, prefix string, each func(Entry) error) (rev Revision, err error) {
	err = b.view(func(tx *bolt.Tx) error {
		rev = revisionOf(tx)
		c := tx.Bucket(bucketEntries).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			e, err := decodeEntry(k, v)
			if err == nil {
				err = each(e)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	return rev, err
}

func (b *Bolt) view(f func(*bolt.Tx) error) error {
	return boltError(guarded(func() error { return b.db.View(f) }))
}

// Commit implements Engine. Whoever comes while another commit is being written waits, and the first of those who
// waited writes for all of them: the cost of an fsync is shared by as many as come at once.
func (b *Bolt) Commit(ctx context.Context, ops []Op) (Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := Validate(ops); err != nil {
		return 0, err
	}
	return b.enqueue(&commit{ops: ops})
}

func (b *Bolt) enqueue(c *commit) (Revision, error) {
	b.queueMu.Lock()
	b.queue = append(b.queue, c)
	b.queueMu.Unlock()

	b.writeMu.Lock()
	defer b.writeMu.Unlock()
	if !c.done {
		b.queueMu.Lock()
		batch := b.queue
		b.queue = nil
		b.queueMu.Unlock()
		b.writeBatch(batch)
	}
	return c.rev, c.err
}

func (b *Bolt) writeBatch(batch []*commit) {
	err := b.broken
	if b.closed {
		err = ErrClosed
	}
	if err == nil {
		err = b.write(batch)
	}
	for _, c := range batch {
		c.done = true
		if err != nil { // whatever else it met with in the batch is not true
			c.rev, c.err = 0, err
		}
		if c.err != nil || len(c.written) == 0 {
			continue
		}
		b.watchers.publish(c.rev, c.written)
	}
}

// Watch implements Engine. Each commit is delivered before its Commit returns.
func (b *Bolt) Watch(ctx context.Context, prefix string, after Revision, deliver func([]Event)) error {
	return b.watchers.watch(ctx, &b.writeMu, prefix, after, deliver)
}

// Close implements Engine. Commits that wait fail with ErrClosed; a second Close does nothing.
func (b *Bolt) Close() error {
	b.writeMu.Lock()
	if b.closed {
		b.writeMu.Unlock()
		return nil
	}
	b.closed = true
	b.watchers.close()
	b.writeMu.Unlock()
	b.leases.close()
	b.background.Wait()
	err := guarded(b.db.Close)
	b.lock.release()
	return err
}

// guarded runs what reads bbolt's memory map. A damaged file makes bbolt panic, a shortened one makes the kernel
// fault; either becomes ErrCorrupt.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	return f()
}

// boltError gives bbolt's errors our kinds.
func boltError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	case !errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		return fmt.Errorf("%w: %w", err, syscall.ENOSPC) // bbolt does not wrap all it is told
	default:
		return err
	}
}
