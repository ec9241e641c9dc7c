package journal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
)

// # Changes that are left
//
// A change that could be neither finished nor undone, as its pool was away, is left: its entry stays. What it concerns must stay as the change
// left it until it is settled, for a handler that comes to it later would undo what has been done since. So whoever is about to change an object
// asks Unsettled first, and those entries are tried again: by Retry in the background, and by Settle for who needs the object now.

const (
	// firstRetry and lastRetry are the shortest and the longest pause between two attempts at what is left.
	firstRetry, lastRetry = 10 * time.Second, time.Minute
	// attemptTime is how long the others wait for an attempt that hangs.
	attemptTime = 30 * time.Second
)

// Guard is for a kind of which entries can be left. Without one they are tried at the next start only, and keep nothing back.
type Guard struct {
	// Objects names what a change concerns, by UUID. May be nil.
	Objects func(data json.RawMessage) []string
	// Aside says that entries of the kind keep nothing back: what comes later of the same object is tried whether they can be settled or not.
	Aside bool
	// Ready fails if the disks or servers that the handler works on do not answer. It is asked before anything is claimed, which would stay claimed
	// for as long as the handler hangs. It does not hang itself. nil: none is asked.
	Ready func(ctx context.Context, data json.RawMessage) error
	// Hold claims all that the handler works on: others are at work by then, as they are not while the daemon starts. nil: the handler does.
	Hold func(ctx context.Context, data json.RawMessage) (release func(), err error)
}

// Guard sets the guard of a kind, once, while the daemon is put together.
func (j *Journal) Guard(kind string, g Guard) { j.guards[kind] = g }

// left is an entry that could not be settled yet.
type left struct {
	id, kind string
	started  time.Time
	objects  []string
	err      error // of the last attempt
}

// leftovers are the entries that are left, in memory alone: at a start each entry is tried anyway.
type leftovers struct {
	mu       sync.RWMutex
	list     map[string]*left   // by entry
	objects  map[string][]*left // by what they concern, oldest first
	settled  map[string]chan struct{}
	attempts bounded.Calls
}

func (l *leftovers) add(one *left) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.list[one.id]; was != nil {
		was.err = one.err
		return
	}
	if l.list == nil {
		l.list, l.objects = map[string]*left{}, map[string][]*left{}
	}
	l.list[one.id] = one
	for _, o := range one.objects {
		l.objects[o] = append(l.objects[o], one)
		slices.SortStableFunc(l.objects[o], (*left).compare)
	}
}

func (a *left) compare(b *left) int { return a.started.Compare(b.started) }

func (l *leftovers) drop(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		one := l.list[id]
		if one == nil {
			continue
		}
		delete(l.list, id)
		for _, o := range one.objects {
			l.objects[o] = slices.DeleteFunc(l.objects[o], func(other *left) bool { return other == one })
			if len(l.objects[o]) == 0 {
				delete(l.objects, o)
			}
			if told := l.settled[o]; told != nil {
				close(told)
				delete(l.settled, o)
			}
		}
	}
}

func (l *leftovers) has(id string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.list[id] != nil
}

// of lists what concerns an object, oldest first.
func (l *leftovers) of(object string) []*left {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.objects[object])
}

// all lists what is left, oldest first.
func (l *leftovers) all() []*left {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]*left, 0, len(l.list))
	for _, one := range l.list {
		list = append(list, one)
	}
	slices.SortFunc(list, (*left).compare)
	return list
}

func (l *leftovers) failed(one *left, err error) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news = one.err == nil || one.err.Error() != err.Error()
	one.err = err
	return news
}

// leave has an entry keep back what it concerns, as its handler failed with err.
func (j *Journal) leave(id string, r *Record, err error) {
	g, ok := j.guards[r.Kind]
	if !ok {
		return
	}
	one := &left{id: id, kind: r.Kind, started: r.Started, err: err}
	if g.Objects != nil {
		one.objects = slices.DeleteFunc(g.Objects(r.Data), func(o string) bool { return o == "" })
	}
	j.left.add(one)
}

// Leave is for a change that could neither be finished nor, with err, be undone: its entry stays, keeps back what it concerns, and is tried again.
func (e *Entry) Leave(err error) {
	if row, ok := e.journal.table.Get(e.id); ok {
		e.journal.leave(e.id, row.Value, err)
	}
}

// Unsettled fails with api.Unavailable while a change of an object is left, unless it is of a kind that harmless lets pass. The caller holds the
// object: from then on no change is left that was not. It costs a look into a map, which is empty but for trouble.
func (j *Journal) Unsettled(object string, harmless func(kind string) bool) error {
	j.left.mu.RLock()
	defer j.left.mu.RUnlock()
	for _, one := range j.left.objects[object] {
		if !harmless(one.kind) {
			return api.Unavailable("An earlier change (%s) is unfinished, and is tried again: %w", one.kind, one.err)
		}
	}
	return nil
}

// NextSettled returns what is closed when the next change that is left of an object is settled: for who asks Unsettled afterwards, and waits if it fails.
func (j *Journal) NextSettled(object string) <-chan struct{} {
	j.left.mu.Lock()
	defer j.left.mu.Unlock()
	told := j.left.settled[object]
	if told == nil {
		told = make(chan struct{})
		if len(j.left.objects[object]) == 0 {
			close(told)
			return told
		}
		if j.left.settled == nil {
			j.left.settled = map[string]chan struct{}{}
		}
		j.left.settled[object] = told
	}
	return told
}

// Settle makes an attempt at what is left of an object, the oldest first, for a caller that needs it and does not hold it yet.
func (j *Journal) Settle(ctx context.Context, object string, harmless func(kind string) bool) {
	list := j.left.of(object)
	if !slices.ContainsFunc(list, func(one *left) bool { return !harmless(one.kind) }) {
		return
	}
	for _, one := range list {
		if j.tryOnce(ctx, one) != nil && !j.guards[one.kind].Aside {
			return
		}
	}
}

// tryOnce is attempt for a caller that has others to see to: one that hangs is left behind.
func (j *Journal) tryOnce(ctx context.Context, one *left) error {
	_, err := bounded.Do(ctx, &j.left.attempts, one.id, attemptTime, func() (struct{}, error) { return struct{}{}, j.attempt(ctx, one) })
	return err
}

// attempt tries an entry once more. Its error is kept, for those who want the object.
func (j *Journal) attempt(ctx context.Context, one *left) error {
	row, ok := j.table.Get(one.id)
	if !ok {
		j.left.drop(one.id)
		return nil
	}
	if ready := j.guards[one.kind].Ready; ready != nil {
		if err := ready(ctx, row.Value.Data); err != nil {
			if j.left.failed(one, err) {
				slog.Warn("An unfinished change waits for what it works on", "kind", one.kind, "id", one.id, "err", err)
			}
			return err
		}
	}
	if hold := j.guards[one.kind].Hold; hold != nil {
		release, err := hold(ctx, row.Value.Data)
		if err != nil {
			return err
		}
		defer release()
	}
	if row, ok = j.table.Get(one.id); !ok || !j.left.has(one.id) { // somebody else was quicker
		j.left.drop(one.id)
		return nil
	}
	log := slog.With("kind", one.kind, "id", one.id)
	err := j.recoverOne(ctx, one.id, row.Value)
	switch {
	case err == nil:
		log.Info("recovered an unfinished change")
	case j.left.failed(one, err):
		log.Error("recovery of an unfinished change failed", "err", err)
	}
	return err
}

// recoverOne runs the handler of an entry and takes it away.
func (j *Journal) recoverOne(ctx context.Context, id string, r *Record) error {
	if err := j.handlers[r.Kind](ctx, r.Data); err != nil {
		return err
	}
	if _, err := j.store.Commit(ctx, j.table.Remove(id)); err != nil {
		return err
	}
	j.left.drop(id)
	return nil
}

// Retry makes attempts at what is left until ctx ends. Of what concerns one object a later change is not tried before an earlier one.
func (j *Journal) Retry(ctx context.Context) {
	pause := firstRetry
	for {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if j.retryAll(ctx) {
			pause = firstRetry
		} else {
			pause = min(2*pause, lastRetry)
		}
	}
}

// retryAll makes one attempt at each entry, and tells whether none is left, or at least one was settled.
func (j *Journal) retryAll(ctx context.Context) (progress bool) {
	list, stuck := j.left.all(), map[string]bool{}
	progress = len(list) == 0
	for _, one := range list {
		if slices.ContainsFunc(one.objects, func(o string) bool { return stuck[o] }) {
			continue
		}
		err := j.tryOnce(ctx, one)
		if err == nil {
			progress = true
			continue
		}
		if errors.Is(err, context.Canceled) {
			return false
		}
		if j.guards[one.kind].Aside {
			continue
		}
		for _, o := range one.objects {
			stuck[o] = true
		}
	}
	return progress
}
