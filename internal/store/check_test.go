package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
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

// TestFreePagesThatAreInUse: bbolt opens such a file, and overwrites what is on those pages with the next commits. Neither a check nor a
// restore takes it, and it is not opened.
func TestFreePagesThatAreInUse(t *testing.T) {
	const pageSize, leaf, freelist = 4096, 0x02, 0x10 // bbolt's page header: id (8 bytes), flags (2), count (2), overflow (4)
	path := filled(t, 200)
	e := open(t, path)
	for n := range 4 { // so that there are free pages
		if _, err := e.Commit(t.Context(), []store.Op{storetest.Put(fmt.Sprintf("/things/%04d", n), "other")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if report, err := store.CheckFile(path); err != nil || report.Tables["things"] != 200 {
		t.Fatalf("whole: %+v, %v", report, err)
	}
	flags := func(page int) uint16 { return binary.NativeEndian.Uint16(data[page*pageSize+8:]) }
	used := 0
	for page := 2; page < len(data)/pageSize && used == 0; page++ {
		if flags(page) == leaf && bytes.Contains(data[page*pageSize:(page+1)*pageSize], []byte("/things/0150")) {
			used = page
		}
	}
	changed := 0
	for page := 2; page < len(data)/pageSize; page++ {
		if at := page * pageSize; flags(page) == freelist && binary.NativeEndian.Uint16(data[at+10:]) > 0 {
			binary.NativeEndian.PutUint64(data[at+16:], uint64(used))
			changed++
		}
	}
	if used == 0 || changed == 0 {
		t.Fatalf("page %d is in use, %d lists are of free ones", used, changed)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, checked := store.CheckFile(path)
	_, opened := store.OpenBolt(path, store.Options{NoBackup: true})
	restored := store.RestoreFile(path, filepath.Join(t.TempDir(), "new.db"))
	dumped := store.DumpFile(path, io.Discard)
	for what, err := range map[string]error{"a check": checked, "an open": opened, "a restore": restored, "a dump": dumped} {
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s says %v", what, err)
		}
	}
}
