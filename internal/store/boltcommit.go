package store

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

var errNothingToWrite = errors.New("no commit of the batch changes anything")

func (b *Bolt) write(batch []*commit) error {
	if err := commitBegun.Hit(); err != nil {
		return err
	}
	var last Revision
	err := guarded(func() error {
		return b.db.Update(func(tx *bolt.Tx) error {
			entries := tx.Bucket(bucketEntries)
			first := revisionOf(tx)
			last = first
			for _, c := range batch {
				if c.rev, c.err = last, b.checkGuards(entries, c.ops); c.err != nil {
					continue
				}
				ops := c.ops
				if c.ended != 0 {
					ops = leasedTo(tx, c.ended)
				}
				var err error
				if c.written, err = writeOps(tx, ops, last+1); err != nil {
					return err
				}
				if len(c.written) > 0 {
					last++
				}
				c.rev = last
			}
			if last == first {
				return errNothingToWrite
			}
			return setRevision(tx, last)
		})
	})
	switch {
	case err == nil:
		_ = commitWritten.Hit() // what is written is written: only an end of the process means anything here
		return nil
	case errors.Is(err, errNothingToWrite):
		return nil
	case errors.Is(err, ErrCorrupt):
		b.broken = err
		return err
	default:
		return b.resolve(last, boltError(err))
	}
}

// resolve decides what a failed write came to. As a rule nothing of it is in the file. Should the failure have come
// after the very last write, the change is there, and only its durability is in doubt: make sure of it, or stop.
func (b *Bolt) resolve(last Revision, cause error) error {
	var now Revision
	err := b.view(func(tx *bolt.Tx) error {
		now = revisionOf(tx)
		return nil
	})
	if err == nil && now != last {
		return cause
	}
	if err == nil {
		if err = b.db.Sync(); err == nil {
			return nil
		}
	}
	b.broken = fmt.Errorf("store needs a restart after a failed write: %w", cause)
	return b.broken
}

func (b *Bolt) checkGuards(entries *bolt.Bucket, ops []Op) error {
	for _, op := range ops {
		if op.Lease != 0 && !b.leases.alive(op.Lease) {
			return fmt.Errorf("%s: %w", op.Key, ErrNoLease)
		}
		if op.Guard == nil {
			continue
		}
		var rev Revision
		if v := entries.Get([]byte(op.Key)); v != nil {
			e, err := decodeEntry([]byte(op.Key), v)
			if err != nil {
				return err
			}
			rev = e.Revision
		}
		if rev != *op.Guard {
			return fmt.Errorf("%s: %w", op.Key, ErrConflict)
		}
	}
	return nil
}

// writeOps returns those ops that changed something.
func writeOps(tx *bolt.Tx, ops []Op, rev Revision) (written []Op, err error) {
	entries, leased := tx.Bucket(bucketEntries), tx.Bucket(bucketLeased)
	written = make([]Op, 0, len(ops))
	for _, op := range ops {
		key := []byte(op.Key)
		switch {
		case op.Check, op.Delete && entries.Get(key) == nil:
			continue
		case op.Delete:
			err = entries.Delete(key)
		default:
			err = entries.Put(key, encodeEntry(op.Key, op.Value, rev))
		}
		if err == nil && (leased != nil || op.Lease != 0) {
			err = setLease(tx, key, op.Lease)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op.Key, err)
		}
		written = append(written, op)
	}
	return written, nil
}
