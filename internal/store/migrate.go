package store

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// SchemaVersion is the version of what the keys and values look like. Raise it together with an entry in
// migrations, and keep a file that the version before wrote under testdata.
const SchemaVersion = 1

// migrations has, by version, what brings a store of that version to the next one.
var migrations = map[int]Migration{}

// Migration changes the entries of a store. All migrations that an open needs are one transaction.
type Migration func(m *Migrator) error

// Migrator is what a migration reads and writes through.
type Migrator struct {
	entries *bolt.Bucket
	rev     Revision
}

// Each calls f for every entry whose key starts with prefix; f may Put and Delete.
func (m *Migrator) Each(prefix string, f func(e Entry) error) error {
	var found []Entry // collected first: bbolt's cursors do not like writes under them
	c := m.entries.Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil && len(k) >= len(prefix) && string(k[:len(prefix)]) == prefix; k, v = c.Next() {
		e, err := decodeEntry(k, v)
		if err != nil {
			return err
		}
		e.Value = bytes.Clone(e.Value)
		found = append(found, e)
	}
	for _, e := range found {
		if err := f(e); err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
	}
	return nil
}

// Put writes an entry.
func (m *Migrator) Put(key string, value []byte) error {
	return m.entries.Put([]byte(key), encodeEntry(key, value, m.rev))
}

// Delete removes an entry.
func (m *Migrator) Delete(key string) error { return m.entries.Delete([]byte(key)) }

// migrate brings the file to the current schema, after a copy of it as it was: "<path>.schema-<version>".
func migrate(db *bolt.DB, path string, opts Options) error {
	var have int
	if err := db.View(func(tx *bolt.Tx) error {
		have = int(getNumber(tx, keySchema))
		return nil
	}); err != nil {
		return boltError(err)
	}
	if have > opts.schema {
		return fmt.Errorf("%w: it has schema %d, this program knows up to %d; run the newer program or restore an older backup", ErrNewer, have, opts.schema)
	}
	if have == opts.schema {
		return nil
	}
	if err := backupDB(db, fmt.Sprintf("%s.schema-%d", path, have)); err != nil {
		return fmt.Errorf("back up before migration: %w", err)
	}
	return guarded(func() error {
		return boltError(db.Update(func(tx *bolt.Tx) error {
			m := &Migrator{entries: tx.Bucket(bucketEntries), rev: revisionOf(tx) + 1}
			for version := have; version < opts.schema; version++ {
				step, ok := opts.migrations[version]
				if !ok {
					return fmt.Errorf("no migration from schema %d", version)
				}
				if err := step(m); err != nil {
					return fmt.Errorf("migrate from schema %d: %w", version, err)
				}
			}
			if err := setRevision(tx, m.rev); err != nil {
				return err
			}
			return putNumber(tx, keySchema, uint64(opts.schema))
		}))
	})
}
