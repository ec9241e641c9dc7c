package store_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/berthd/berth/internal/store"
)

// entryOf is an entry as it is on disk, with the sum that it should have.
func entryOf(key, value string, revision uint64) []byte {
	head := binary.BigEndian.AppendUint64(nil, revision)
	sum := crc32.Checksum([]byte(key+string(head)+value), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(head, sum), value...)
}

// TestACheckFindsWhatItsSumsDoNotShow: entries that bear a right checksum, and still cannot have been written by a store. A check tells
// of them, and a restore refuses to put such a file in place.
func TestACheckFindsWhatItsSumsDoNotShow(t *testing.T) {
	const key = "/things/0001"
	for name, c := range map[string]struct {
		entry []byte
		says  string // "": there is nothing to tell
	}{
		"the last revision":             {entryOf(key, `"x"`, 1), ""},
		"a revision that was not given": {entryOf(key, `"x"`, 2), "revision 2 is after the last one, 1"},
		"a revision of the far future":  {entryOf(key, `"x"`, 1<<62), "is after the last one, 1"},
		"half a value":                  {entryOf(key, `{"a":`, 1), "its value is not JSON"},
		"no value":                      {entryOf(key, "", 1), "its value is not JSON"},
		"another key's":                 {entryOf("/things/0002", `"x"`, 1), "checksum differs"},
	} {
		path := filled(t, 3)
		db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		put := func(tx *bolt.Tx) error { return tx.Bucket([]byte("entries")).Put([]byte(key), c.entry) }
		if err := errors.Join(db.Update(put), db.Close()); err != nil {
			t.Fatal(err)
		}
		report, err := store.CheckFile(path)
		if c.says == "" {
			if err != nil || report.Tables["things"] != 3 {
				t.Errorf("%s: %+v, %v", name, report, err)
			}
			continue
		}
		if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: a check says %v", name, err)
		}
		if err := store.RestoreFile(path, filepath.Join(t.TempDir(), "new.db")); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: a restore says %v", name, err)
		}
	}
}
