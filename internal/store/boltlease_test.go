package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

// TestLeasesEndWithTheirProcess opens a store again whose leases had not ended.
func TestLeasesEndWithTheirProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	e := open(t, path)
	id, err := e.Grant(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := e.Commit(t.Context(), []store.Op{storetest.Put("/lock", "me").Under(id), storetest.Put("/stays", "x")})
	if err := errors.Join(err, e.Close()); err != nil {
		t.Fatal(err)
	}
	e = open(t, path)
	entries, now, err := store.List(t.Context(), e, "/")
	if err != nil || len(entries) != 1 || entries[0].Key != "/stays" || entries[0].Revision != rev || now <= rev {
		t.Errorf("%+v at %d, %v", entries, now, err)
	}
	if err := e.Renew(t.Context(), id); !errors.Is(err, store.ErrNoLease) {
		t.Errorf("renewal of a lease of the last process: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, again, err := store.List(t.Context(), open(t, path), "/"); err != nil || again != now {
		t.Errorf("opened once more it is at %d, not %d: %v", again, now, err)
	}
}

// TestDamagedLeases: what says which keys are to go is believed only if it is whole.
func TestDamagedLeases(t *testing.T) {
	for n, damage := range [][]byte{nil, {1}, make([]byte, 12), append(make([]byte, 12), 1)} {
		refused(t, fmt.Sprint(n), func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("leased"))
			return errors.Join(err, b.Put([]byte("/things/0001"), damage))
		})
	}
}

// TestDamagedNumbers: a revision that is not the one that was written may be given twice, and a schema have data migrated once more.
func TestDamagedNumbers(t *testing.T) {
	for _, name := range []string{"schema", "revision"} {
		for at := range 12 {
			refused(t, fmt.Sprintf("byte %d of the %s", at, name), func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte("meta"))
				damaged := bytes.Clone(b.Get([]byte(name)))
				damaged[at] ^= 1
				return b.Put([]byte(name), damaged)
			})
		}
		refused(t, "no "+name, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte(name)) })
	}
}

// refused damages a store in a way that leaves bbolt's own structure whole.
func refused(t *testing.T, what string, damage func(tx *bolt.Tx) error) {
	t.Helper()
	path := filled(t, 3)
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(damage), db.Close()); err != nil {
		t.Fatal(err)
	}
	_, opened := store.OpenBolt(path, store.Options{NoBackup: true})
	_, checked := store.CheckFile(path)
	if !errors.Is(opened, store.ErrCorrupt) || !errors.Is(checked, store.ErrCorrupt) {
		t.Errorf("%s: opened: %v, checked: %v", what, opened, checked)
	}
}
