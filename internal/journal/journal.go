// Package journal makes a change of several steps survive the end of the daemon at any instant.
//
// Before its first effect outside the store a change begins an entry, which says what is about to be made. Its
// last commit takes the entry away together with writing the result, so that both happen or neither. An entry
// that is still there when the daemon starts belongs to a change that was cut off; the handler of its kind then
// finishes or undoes it. Handlers must be idempotent: they too can be cut off. What a handler cannot settle is left: see Guard.
package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/internal/store"
)

// Record is an entry as it is kept.
type Record struct {
	Kind    string          `json:"kind"`
	Member  string          `json:"member,omitempty"` // of the cluster, whose daemon makes the change; Alone without one
	Started time.Time       `json:"started"`
	Data    json.RawMessage `json:"data"`
}

// Alone is the name of the one member of a daemon without a cluster.
const Alone = "none"

// ours tells whether this daemon made the entry. Another member's is its own to recover: it may be at it.
func (r *Record) ours() bool { return r.Member == "" || r.Member == Alone }

// Handler finishes or undoes a change that was cut off.
type Handler func(ctx context.Context, data json.RawMessage) error

// Journal keeps the entries of one store.
type Journal struct {
	store    *store.Store
	table    *store.Table[Record]
	handlers map[string]Handler
	guards   map[string]Guard
	left     leftovers

	mu       sync.Mutex
	obsolete []string // entries of changes that are over, which could not be removed yet
}

// New makes the journal of s; it owns the table "journal".
func New(s *store.Store) *Journal {
	return &Journal{store: s, table: store.NewTable[Record](s, "journal"), handlers: map[string]Handler{}, guards: map[string]Guard{}}
}

// Handle sets the handler of a kind, once, while the daemon is put together.
func (j *Journal) Handle(kind string, h Handler) { j.handlers[kind] = h }

// Entry is a change under way.
type Entry struct {
	journal *Journal
	id      string
	kind    string
	started time.Time
}

// Begin writes down that a change of this kind starts; data is all that its handler needs. The extra ops are
// committed with it.
//
// An entry of the same kind and data that is there already was left by an earlier attempt which could neither be
// finished nor undone. This one stands for both: the old entry goes, lest it be recovered when its object is another one.
func (j *Journal) Begin(ctx context.Context, kind string, data any, with ...store.Op) (*Entry, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", kind, err)
	}
	e := &Entry{journal: j, id: uuid.NewString(), kind: kind, started: time.Now().UTC()}
	ops := append(with, j.table.Create(&Record{Kind: kind, Member: Alone, Started: e.started, Data: raw}, e.id))
	obsolete := j.takeObsolete()
	gone := slices.Clone(obsolete)
	for _, row := range j.table.List() {
		if row.Value.ours() && row.Value.Kind == kind && bytes.Equal(row.Value.Data, raw) && !slices.Contains(obsolete, row.Path[0]) {
			gone = append(gone, row.Path[0])
		}
	}
	for _, id := range gone {
		ops = append(ops, j.table.Remove(id))
	}
	if _, err := j.store.Commit(ctx, ops...); err != nil {
		j.addObsolete(obsolete...)
		return nil, fmt.Errorf("journal %s: %w", kind, err)
	}
	j.left.drop(gone...)
	return e, nil
}

func (j *Journal) takeObsolete() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	obsolete := j.obsolete
	j.obsolete = nil
	return obsolete
}

func (j *Journal) addObsolete(ids ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.obsolete = append(j.obsolete, ids...)
}

// Done is the op that ends the entry; it belongs into the change's last commit.
func (e *Entry) Done() store.Op { return e.journal.table.Remove(e.id) }

// Close ends the entry by itself, after an undo. Should the store be full, the entry goes with the next change.
func (e *Entry) Close(ctx context.Context) error {
	_, err := e.journal.store.Commit(ctx, e.Done())
	if err != nil {
		e.journal.addObsolete(e.id)
	}
	return err
}

// Recover runs the handler of every entry left over, oldest first. An entry whose handler fails stays, is
// logged, and is tried again at the next start, or, with a Guard, sooner; the others go on.
func (j *Journal) Recover(ctx context.Context) error {
	rows := j.table.List()
	sortByStart(rows)
	for _, row := range rows {
		log := slog.With("kind", row.Value.Kind, "id", row.Path[0])
		if !row.Value.ours() {
			continue
		}
		if _, ok := j.handlers[row.Value.Kind]; !ok {
			log.Error("no handler for an unfinished change")
			continue
		}
		if err := j.recoverOne(ctx, row.Path[0], row.Value); err != nil {
			log.Error("recovery of an unfinished change failed", "err", err)
			j.leave(row.Path[0], row.Value, err)
			continue
		}
		log.Info("recovered an unfinished change")
	}
	return ctx.Err()
}

// Pending counts entries: of changes under way, or left over.
func (j *Journal) Pending() int { return j.table.Len() }

// Amend is the op that has the entry say something else from a commit on, such as that the change is to be finished
// now, where it would have been undone before.
func (e *Entry) Amend(data any) store.Op {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("journal: encode %T: %v", data, err)) // the store's rule: a mistake of the program
	}
	return e.journal.table.Put(&Record{Kind: e.kind, Member: Alone, Started: e.started, Data: raw}, e.id)
}
