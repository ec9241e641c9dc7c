package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// Row is a value of a table, with where it stands and the revision it has. Value is shared: clone before change.
type Row[T any] struct {
	Path     []string // unescaped elements after the table's name
	Value    *T
	Revision Revision
}

// Interner is a value of which there are many alike. Intern is called when it has been decoded, before anybody else sees it.
// like is the value before it in the table, or the one that it replaces; nil if there is none. What is equal in both may be
// held in common: thousands of snapshots differ in a few strings.
type Interner[T any] interface{ Intern(like *T) }

// DeltaDecoder is a value that can be decoded as what it differs in from another of its table, for less than decoding all
// of it. Of thousands of snapshots each differs in its times and a few keys from the one before.
type DeltaDecoder[T any] interface {
	// DecodeDelta sets the receiver, which is zero, to what decoding data gives, and may share memory with base, the value
	// that Intern would be given. It does not keep data. If it returns false the value is decoded as any other.
	DecodeDelta(data []byte, base *T) bool
}

// Table is the typed, in-memory view of all keys under one first element. Reads are lock-free of commits in
// progress and never block on the disk.
type Table[T any] struct {
	prefix string

	mu      sync.RWMutex
	rows    *btree.Map[string, Row[T]]
	loaded  Revision // load has read everything up to here
	changes atomic.Uint64
	changed func() // nil: nobody is told
}

// NewTable adds the table `name` (keys "/name/…") to the store. Call it before Load; a second table of the
// same name is a mistake of the program and panics.
func NewTable[T any](s *Store, name string) *Table[T] {
	t := &Table[T]{prefix: "/" + name + "/", rows: new(btree.Map[string, Row[T]])}
	if _, ok := s.tables[t.prefix]; ok {
		panic("store: table " + name + " is defined twice")
	}
	s.tables[t.prefix] = t
	return t
}

// OnChange has f called after each change of the table, whoever made it, once reads show it. f must be quick and must not commit. It is for the
// time before Load.
func (t *Table[T]) OnChange(f func()) { t.changed = f }

// Get returns the row at path.
func (t *Table[T]) Get(path ...string) (Row[T], bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows.Get(t.Key(path...))
}

// List returns the rows below path, in key order; without path, all of them.
func (t *Table[T]) List(path ...string) []Row[T] {
	t.mu.RLock()
	defer t.mu.RUnlock()
	prefix := t.prefix
	if len(path) > 0 {
		prefix = t.key(path, "/")
	}
	var rows []Row[T]
	t.rows.Ascend(prefix, func(key string, row Row[T]) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		rows = append(rows, row)
		return true
	})
	return rows
}

// Changes counts the changes of the table: while it is the same, so are the rows.
func (t *Table[T]) Changes() uint64 { return t.changes.Load() }

// Len counts all rows.
func (t *Table[T]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows.Len()
}

// Put writes v at path, whatever is there.
func (t *Table[T]) Put(v *T, path ...string) Op {
	return Op{Key: t.Key(path...), Value: encode(v)}
}

// decode prepares op for apply, and refuses a value that no load would accept.
func (t *Table[T]) decode(op *Op) error {
	if op.Delete {
		return nil
	}
	row, err := t.row(Entry{Key: op.Key, Value: op.Value}, t.before(op.Key))
	if err != nil {
		return err
	}
	op.decoded = &row
	return nil
}

// Create writes v at path and demands that nothing is there.
func (t *Table[T]) Create(v *T, path ...string) Op {
	return t.Put(v, path...).At(0)
}

// Replace writes v in the place of row and demands that nobody wrote it since.
func (t *Table[T]) Replace(row Row[T], v *T) Op { return t.ReplaceAt(row.Revision, v, row.Path...) }

// ReplaceAt writes v at path and demands that what is there is of revision rev: that which a client has seen.
func (t *Table[T]) ReplaceAt(rev Revision, v *T, path ...string) Op { return t.Put(v, path...).At(rev) }

// Unchanged writes nothing and demands that nobody wrote row since.
func (t *Table[T]) Unchanged(row Row[T]) Op {
	return Op{Key: t.Key(row.Path...), Check: true, Guard: &row.Revision}
}

// Absent writes nothing and demands that nothing is at path.
func (t *Table[T]) Absent(path ...string) Op {
	return Op{Key: t.Key(path...), Check: true, Guard: new(Revision)}
}

// Remove deletes what is at path; that nothing is there is no error.
func (t *Table[T]) Remove(path ...string) Op {
	return Op{Key: t.Key(path...), Delete: true}
}

// RemoveAt deletes what is at path and demands that it is of revision rev.
func (t *Table[T]) RemoveAt(rev Revision, path ...string) Op { return t.Remove(path...).At(rev) }

// before returns the value at key, else the one before it; nil if there is none.
func (t *Table[T]) before(key string) *T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var found *T
	t.rows.Descend(key, func(_ string, row Row[T]) bool {
		found = row.Value
		return false
	})
	return found
}

func (t *Table[T]) row(e Entry, like *T) (Row[T], error) {
	path, err := t.path(e.Key)
	if err != nil {
		return Row[T]{}, err
	}
	v := new(T)
	if f, ok := any(v).(DeltaDecoder[T]); ok && like != nil && f.DecodeDelta(e.Value, like) {
		return Row[T]{Path: path, Value: v, Revision: e.Revision}, nil
	}
	if err := json.Unmarshal(e.Value, v); err != nil {
		return Row[T]{}, fmt.Errorf("key %q: %w: %w", e.Key, ErrCorrupt, err)
	}
	if s, ok := any(v).(Interner[T]); ok {
		s.Intern(like)
	}
	return Row[T]{Path: path, Value: v, Revision: e.Revision}, nil
}

// load reads the table anew and returns the revision it was read at.
func (t *Table[T]) load(scan func(each func(Entry) error) (Revision, error)) (Revision, error) {
	var last previous[T]
	rows := new(btree.Map[string, Row[T]])
	at, err := scan(func(e Entry) error {
		row, known := t.known(e)
		if !known {
			var err error
			if row, err = t.next(e, &last); err != nil {
				return err
			}
		}
		rows.Load(e.Key, row)
		return nil
	})
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	t.rows, t.loaded = rows, at
	t.changes.Add(1)
	t.mu.Unlock()
	t.tell()
	return at, nil
}

// known returns the row of an entry that the table has as it is: most of them, when it is read again.
func (t *Table[T]) known(e Entry) (Row[T], bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.rows.Len() == 0 {
		return Row[T]{}, false
	}
	row, ok := t.rows.Get(e.Key)
	return row, ok && row.Revision == e.Revision
}

// previous is the value that was decoded last: the base of the next.
type previous[T any] struct {
	value *T
	data  []byte
}

// next is row for entries that come in the order of their keys.
func (t *Table[T]) next(e Entry, last *previous[T]) (Row[T], error) {
	if last.value != nil && bytes.Equal(e.Value, last.data) { // values are shared, and not changed
		path, err := t.path(e.Key)
		return Row[T]{Path: path, Value: last.value, Revision: e.Revision}, err
	}
	row, err := t.row(e, last.value)
	last.value, last.data = row.Value, append(last.data[:0], e.Value...)
	return row, err
}

// apply brings the table up to a commit, at once for whoever reads it.
func (t *Table[T]) apply(events []Event) {
	type change struct {
		key     string
		row     Row[T]
		deleted bool
	}
	var few [4]change
	changes := few[:0]
	for _, e := range events {
		if !strings.HasPrefix(e.Key, t.prefix) || e.Revision <= t.loaded {
			continue
		}
		c := change{key: e.Key, deleted: e.Deleted}
		if !e.Deleted {
			row, err := t.rowOf(e)
			if err != nil {
				// Another member wrote it, perhaps of a newer version. The old value stays with its old revision, so that no guarded
				// change of it succeeds.
				slog.Error("A change in the store cannot be read", "key", e.Key, "revision", e.Revision, "err", err)
				continue
			}
			c.row = row
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return
	}
	defer t.tell()
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.changes.Add(1)
	for _, c := range changes {
		if c.deleted {
			t.rows.Delete(c.key)
		} else {
			t.rows.Set(c.key, c.row)
		}
	}
}

func (t *Table[T]) tell() {
	if t.changed != nil {
		t.changed()
	}
}

// rowOf is the row of what was put: decoded before, if this table did that, or else now.
func (t *Table[T]) rowOf(e Event) (Row[T], error) {
	if row, ok := e.decoded.(*Row[T]); ok {
		mine := *row
		mine.Revision = e.Revision
		return mine, nil
	}
	return t.row(e.Entry, t.before(e.Key))
}

// encode turns a value into JSON. Values are plain structs of the program; one that cannot be encoded is a
// mistake of the program.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: encode %T: %v", v, err))
	}
	return data
}
