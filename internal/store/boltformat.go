package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/berthd/berth/internal/durable"
)

// The file has two buckets. "entries" maps a key to its revision (8 bytes, big endian), a CRC-32C over key, revision
// and value (4 bytes), and the value. "meta" holds "schema" and "revision", 8 bytes and a CRC-32C over name and bytes.
var (
	bucketEntries = []byte("entries")
	bucketMeta    = []byte("meta")
	keySchema     = []byte("schema")
	keyRevision   = []byte("revision")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const entryHeader = 12

func encodeEntry(key string, value []byte, rev Revision) []byte {
	data := make([]byte, entryHeader, entryHeader+len(value))
	binary.BigEndian.PutUint64(data, uint64(rev))
	binary.BigEndian.PutUint32(data[8:], sum([]byte(key), data[:8], value))
	return append(data, value...)
}

// decodeEntry checks an entry. Its value is bbolt's own memory, valid within the transaction only.
func decodeEntry(key, data []byte) (Entry, error) {
	if err := checkEntry(key, data); err != nil {
		return Entry{}, err
	}
	return Entry{Key: string(key), Revision: Revision(binary.BigEndian.Uint64(data)), Value: data[entryHeader:]}, nil
}

func checkEntry(key, data []byte) error {
	if len(data) < entryHeader || binary.BigEndian.Uint32(data[8:]) != sum(key, data[:8], data[entryHeader:]) {
		return fmt.Errorf("key %q: %w: checksum differs", key, ErrCorrupt)
	}
	return nil
}

func sum(parts ...[]byte) uint32 {
	var crc uint32
	for _, part := range parts {
		crc = crc32.Update(crc, castagnoli, part)
	}
	return crc
}

func revisionOf(tx *bolt.Tx) Revision { return Revision(getNumber(tx, keyRevision)) }

func setRevision(tx *bolt.Tx, rev Revision) error { return putNumber(tx, keyRevision, uint64(rev)) }

// getNumber returns 0 for a number that is not there or not whole: checkDB tells of the latter.
func getNumber(tx *bolt.Tx, key []byte) uint64 {
	n, _ := number(tx, key)
	return n
}

func number(tx *bolt.Tx, key []byte) (n uint64, whole bool) {
	v := tx.Bucket(bucketMeta).Get(key)
	if len(v) != 12 || binary.BigEndian.Uint32(v[8:]) != sum(key, v[:8]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(v), true
}

func putNumber(tx *bolt.Tx, key []byte, n uint64) error {
	v := binary.BigEndian.AppendUint64(nil, n)
	return tx.Bucket(bucketMeta).Put(key, binary.BigEndian.AppendUint32(v, sum(key, v)))
}

// create makes an empty store at path if there is none, whole or not at all.
func create(path string, schema int) error {
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(fresh, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return boltError(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketEntries, bucketMeta} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return errors.Join(putNumber(tx, keySchema, uint64(schema)), setRevision(tx, 0))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return boltError(err)
	}
	return durable.Rename(fresh, path)
}

// checkDB reads all there is in a file that verifyPages found whole: buckets, and the checksum of each entry.
func checkDB(db *bolt.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		entries, meta := tx.Bucket(bucketEntries), tx.Bucket(bucketMeta)
		if entries == nil || meta == nil {
			return fmt.Errorf("%w: it is no store of Berth", ErrCorrupt)
		}
		for _, key := range [][]byte{keySchema, keyRevision} {
			if _, whole := number(tx, key); !whole {
				return fmt.Errorf("%w: its %s is damaged", ErrCorrupt, key)
			}
		}
		if leased := tx.Bucket(bucketLeased); leased != nil {
			if err := leased.ForEach(checkLeased); err != nil {
				return err
			}
		}
		return entries.ForEach(checkEntry)
	})
}

// bbolt's meta page: a page header of 16 bytes, then the fields (see its "internal/common/meta.go" for the layout).
const (
	metaMagic    = 0xED0CDAED
	metaOffset   = 16
	metaPageSize = metaOffset + 8
	metaRoot     = metaOffset + 16
	metaFreelist = metaOffset + 32
	metaHigh     = metaOffset + 40
	metaTxid     = metaOffset + 48
	metaChecksum = metaOffset + 56
	metaEnd      = metaChecksum + 8
)

// boltMeta is what a check before the mapping needs of a meta page.
type boltMeta struct {
	pageSize int64
	high     int64 // pages in use
	root     uint64
	freelist uint64
	txid     uint64
}

// readMeta reads the newer of the two meta pages that is whole.
func readMeta(f *os.File) (boltMeta, error) {
	var best boltMeta
	page := make([]byte, metaEnd)
	try := func(offset int64) {
		if _, err := f.ReadAt(page, offset); err != nil {
			return
		}
		if m, ok := parseMeta(page); ok && (best.pageSize == 0 || m.txid > best.txid) {
			best = m
		}
	}
	try(0)
	if best.pageSize != 0 {
		try(best.pageSize)
	} else {
		for size := int64(1024); size <= 64<<10 && best.pageSize == 0; size *= 2 {
			try(size)
		}
	}
	if best.pageSize == 0 {
		return best, fmt.Errorf("%w: no page at its beginning is whole", ErrCorrupt)
	}
	return best, nil
}

func parseMeta(page []byte) (boltMeta, bool) {
	order := binary.NativeEndian
	h := fnv.New64a()
	_, _ = h.Write(page[metaOffset:metaChecksum])
	if order.Uint32(page[metaOffset:]) != metaMagic || order.Uint64(page[metaChecksum:]) != h.Sum64() {
		return boltMeta{}, false
	}
	m := boltMeta{
		pageSize: int64(order.Uint32(page[metaPageSize:])),
		high:     int64(order.Uint64(page[metaHigh:])),
		root:     order.Uint64(page[metaRoot:]),
		freelist: order.Uint64(page[metaFreelist:]),
		txid:     order.Uint64(page[metaTxid:]),
	}
	return m, m.pageSize >= 512 && m.pageSize <= 1<<20 && m.high >= 2 && m.high < 1<<40
}
