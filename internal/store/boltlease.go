package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A third bucket, "leased", maps each key that was put under a lease to that, 8 bytes, big endian, and a CRC-32C over
// key and these. It is made with the first of them. Leases end with the process, so what it has when the file is opened is deleted.
var bucketLeased = []byte("leased")

// Grant implements Leases.
func (b *Bolt) Grant(_ context.Context, ttl time.Duration) (LeaseID, error) {
	return b.leases.grant(ttl)
}

// Renew implements Leases.
func (b *Bolt) Renew(_ context.Context, id LeaseID) error { return b.leases.renew(id) }

// Revoke implements Leases.
func (b *Bolt) Revoke(_ context.Context, id LeaseID) error { return b.leases.revoke(id) }

func (b *Bolt) endLease(id LeaseID) error {
	_, err := b.enqueue(&commit{ended: id})
	return err
}

// setLease notes which lease a key that was written is under; 0 is none.
func setLease(tx *bolt.Tx, key []byte, id LeaseID) error {
	leased, err := tx.CreateBucketIfNotExists(bucketLeased)
	switch {
	case err != nil:
		return err
	case id == 0:
		return leased.Delete(key)
	}
	return leased.Put(key, leaseValue(key, id))
}

func leaseValue(key []byte, id LeaseID) []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(id))
	return binary.BigEndian.AppendUint32(v, sum(key, v))
}

func checkLeased(key, value []byte) error {
	if len(value) != 12 || binary.BigEndian.Uint32(value[8:]) != sum(key, value[:8]) {
		return fmt.Errorf("the lease of key %q: %w: checksum differs", key, ErrCorrupt)
	}
	return nil
}

// leasedTo returns the ops that delete the keys of a lease; of every lease, if id is 0.
func leasedTo(tx *bolt.Tx, id LeaseID) (ops []Op) {
	leased := tx.Bucket(bucketLeased)
	if leased == nil {
		return nil
	}
	c := leased.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if id == 0 || bytes.Equal(v, leaseValue(k, id)) {
			ops = append(ops, Op{Key: string(k), Delete: true})
		}
	}
	return ops
}

// dropLeased deletes the keys of leases that ended with the process that had the file before.
func dropLeased(db *bolt.DB) error {
	some := false
	err := guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			some = len(leasedTo(tx, 0)) > 0
			return nil
		})
	})
	if err != nil || !some {
		return boltError(err)
	}
	return boltError(guarded(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			rev := revisionOf(tx) + 1
			if _, err := writeOps(tx, leasedTo(tx, 0), rev); err != nil {
				return err
			}
			return setRevision(tx, rev)
		})
	}))
}
