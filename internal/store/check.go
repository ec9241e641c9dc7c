package store

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Report is what a check found.
type Report struct {
	Schema   int            `json:"schema"`
	Revision Revision       `json:"revision"`
	Bytes    int64          `json:"bytes"`  // of the pages in use
	Tables   map[string]int `json:"tables"` // entries, by the first element of their keys
}

// CheckFile reads all of the store at path, which may be in use, and tells what is in it. A damaged one gives
// ErrCorrupt.
func CheckFile(path string) (report Report, err error) {
	err = withCopy(path, func(copied string) error {
		report, err = checkReadOnly(copied)
		return err
	})
	if err != nil {
		return Report{}, fmt.Errorf("check store %s: %w", path, err)
	}
	return report, nil
}

// DumpFile writes the store at path, which may be in use, as lines of JSON: one with "schema" and "revision", then one
// an entry, in key order, with "key", "revision" and "value".
func DumpFile(path string, w io.Writer) error {
	err := withCopy(path, func(copied string) error {
		return withReadOnly(copied, func(tx *bolt.Tx) error { return dump(tx, w) })
	})
	if err != nil {
		return fmt.Errorf("dump store %s: %w", path, err)
	}
	return nil
}

// ScanFile shows f each entry of the store at path, which may be in use, in key order. The value is valid during the call
// only.
func ScanFile(path string, f func(Entry) error) error {
	err := withCopy(path, func(copied string) error {
		return withReadOnly(copied, func(tx *bolt.Tx) error {
			return tx.Bucket(bucketEntries).ForEach(func(k, v []byte) error {
				e, err := decodeEntry(k, v)
				if err != nil {
					return err
				}
				return f(e)
			})
		})
	})
	if err != nil {
		return fmt.Errorf("read store %s: %w", path, err)
	}
	return nil
}

func dump(tx *bolt.Tx, w io.Writer) error {
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	head := struct {
		Schema   int      `json:"schema"`
		Revision Revision `json:"revision"`
	}{int(getNumber(tx, keySchema)), revisionOf(tx)}
	if err := lines.Encode(head); err != nil {
		return err
	}
	err := tx.Bucket(bucketEntries).ForEach(func(k, v []byte) error {
		e, err := decodeEntry(k, v)
		if err != nil {
			return err
		}
		line := struct {
			Key      string          `json:"key"`
			Revision Revision        `json:"revision"`
			Value    json.RawMessage `json:"value"`
		}{e.Key, e.Revision, e.Value}
		if !json.Valid(e.Value) {
			line.Value, _ = json.Marshal(e.Value)
		}
		return lines.Encode(line)
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// checkReadOnly checks a file that nobody writes to.
func checkReadOnly(path string) (Report, error) {
	var r Report
	err := withReadOnly(path, func(tx *bolt.Tx) error {
		r = Report{
			Schema: int(getNumber(tx, keySchema)), Revision: revisionOf(tx), Bytes: tx.Size(), Tables: map[string]int{},
		}
		return tx.Bucket(bucketEntries).ForEach(func(k, v []byte) error {
			e, err := decodeEntry(k, v)
			if err != nil {
				return err
			}
			if e.Revision > r.Revision {
				return fmt.Errorf("key %q: %w: revision %d is after the last one, %d", e.Key, ErrCorrupt, e.Revision, r.Revision)
			}
			if !json.Valid(e.Value) {
				return fmt.Errorf("key %q: %w: its value is not JSON", e.Key, ErrCorrupt)
			}
			r.Tables[strings.Trim(prefixOf(e.Key), "/")]++
			return nil
		})
	})
	return r, err
}

// withReadOnly opens a file that nobody writes to and checks its pages before f sees it.
func withReadOnly(path string, f func(tx *bolt.Tx) error) error {
	if err := verifyPages(path); err != nil {
		return err
	}
	return guarded(func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, FreelistType: bolt.FreelistMapType})
		if err != nil {
			return boltError(err)
		}
		defer db.Close()
		if err := checkDB(db); err != nil {
			return err
		}
		return db.View(f)
	})
}

// withCopy gives f a consistent copy of a store that may be in use.
func withCopy(path string, f func(copied string) error) error {
	temp, err := os.CreateTemp("", "berth-store-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	if err := copyConsistent(path, temp); err != nil {
		return err
	}
	return f(temp.Name())
}
