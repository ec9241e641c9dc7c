package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/storage"
)

// Kinds of changes that the journal knows.
const (
	kindCreate         = "instance.create"
	kindDelete         = "instance.delete"
	kindRename         = "instance.rename"
	kindMove           = "instance.move"
	kindMoveRest       = "instance.move.rest"
	kindSnapshot       = "instance.snapshot"
	kindSnapshotDelete = "instance.snapshot.delete"
	kindSnapshotRename = "instance.snapshot.rename"
	kindRestore        = "instance.restore"
	kindRefresh        = "instance.refresh"
	kindUpdate         = "instance.update"
	kindCopyFreeze     = "instance.still" // as stores have it
)

// change is what the handlers of all kinds need to know.
type change struct {
	Project string `json:"project"`
	Name    string `json:"name"`
	Pool    string `json:"pool"`
	NewName string `json:"new_name,omitempty"`
	// NewProject is that of NewName, of a rename.
	NewProject string `json:"new_project,omitempty"`
	NewPool    string `json:"new_pool,omitempty"`
	Snapshot   string `json:"snapshot,omitempty"`
	NewSnap    string `json:"new_snapshot,omitempty"`
	// UUID is the identity of the instance, Volumes what is made for it, or taken away: no name of either is trusted.
	UUID    string             `json:"uuid,omitempty"`
	Volumes []storage.VolumeID `json:"volumes,omitempty"`
}

// changeOf begins the description of a change of an instance.
func changeOf(i *Instance) change {
	return change{Project: i.Project, Name: i.Name, Pool: i.Pool, UUID: i.UUID}
}

// current returns the instance that a change is about, unless another one has its name by now.
func (s *Service) current(c change) (*Instance, bool) {
	row, ok := s.instances.Get(c.Project, c.Name)
	if !ok || row.Value.UUID != c.UUID {
		return nil, false
	}
	return row.Value, true
}

// handleJournal registers, for each kind of change, how one that was cut off is recovered. A change that only makes something new
// is undone; one that removes something is finished.
func (s *Service) handleJournal() {
	handlers := map[string]func(context.Context, change) error{
		kindCreate:         s.undoCreate,
		kindDelete:         s.finishDelete,
		kindRename:         s.undoRename,
		kindMove:           s.recoverMove,
		kindMoveRest:       s.recoverMoveRest,
		kindSnapshot:       s.undoSnapshot,
		kindSnapshotDelete: s.finishSnapshotDelete,
		kindSnapshotRename: s.undoSnapshotRename,
		kindCopyFreeze:     s.undoCopyFreeze,
	}
	for kind, h := range handlers {
		s.Journal.Handle(kind, journal.Handler(func(ctx context.Context, data json.RawMessage) error {
			var c change
			if err := json.Unmarshal(data, &c); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			return h(ctx, c)
		}))
	}
	s.Journal.Handle(kindUpdate, s.recoverUpdate)
	s.Journal.Handle(kindRestore, s.recoverSwap)
	s.Journal.Handle(kindRefresh, s.recoverSwap)
	s.guardJournal()
}

// undoFailed undoes a change that failed with err, also when its caller has gone, and ends its entry. An entry whose undo
// fails is left. Without err it does nothing.
func undoFailed(ctx context.Context, err error, entry *journal.Entry, c change, undo func(context.Context, change) error) error {
	if err == nil {
		return nil
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	if undone := undo(ctx, c); undone != nil {
		entry.Leave(undone)
		return errors.Join(err, undone)
	}
	return errors.Join(err, entry.Close(ctx))
}
