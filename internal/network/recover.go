package network

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/berthd/berth/internal/fault"
)

// Instants between the steps of a change.
var (
	createBegun   = fault.New("network.create.begun")
	createFolder  = fault.New("network.create.folder")
	createUp      = fault.New("network.create.up")
	deleteBegun   = fault.New("network.delete.begun")
	deleteDown    = fault.New("network.delete.down")
	deleteRemoved = fault.New("network.delete.removed")
	renameBegun   = fault.New("network.rename.begun")
	renameDown    = fault.New("network.rename.down")
	renameMoved   = fault.New("network.rename.moved")
	renameUp      = fault.New("network.rename.up")
	updateUp      = fault.New("network.update.up")
)

// change is what the journal keeps of a change under way. What it has made bears the UUID: interfaces, rules, the folder.
// Names alone may be another network's by the time a change that was cut off is recovered.
type change struct {
	Project string   `json:"project"`
	Name    string   `json:"name"`
	New     string   `json:"new,omitempty"`
	UUID    string   `json:"uuid"`
	Ports   []string `json:"ports,omitempty"` // external interfaces that an update touches
}

const (
	kindCreate = "network.create"
	kindDelete = "network.delete"
	kindRename = "network.rename"
	kindUpdate = "network.update"
)

// registerRecovery says what becomes of changes that were cut off: a creation and a rename are undone, a deletion
// is finished. Start then brings the networks that are left to their records.
func (s *Service) registerRecovery() {
	handle := func(kind string, f func(context.Context, change) error) {
		s.Journal.Handle(kind, func(ctx context.Context, data json.RawMessage) error {
			var c change
			if err := json.Unmarshal(data, &c); err != nil {
				return err
			}
			if checkName(c.Name) != nil || c.New != "" && checkName(c.New) != nil {
				return fmt.Errorf("invalid name in the journal: %+v", c)
			}
			return f(ctx, c)
		})
	}
	handle(kindCreate, func(ctx context.Context, c change) error { return s.remove(ctx, c.Name, c.UUID) })
	handle(kindDelete, s.finishDelete)
	handle(kindRename, s.undoRename)
	handle(kindUpdate, s.recoverPorts)
}

func (s *Service) finishDelete(ctx context.Context, c change) error {
	if err := s.remove(ctx, c.Name, c.UUID); err != nil {
		return err
	}
	row, ok := s.table.Get(c.Project, c.Name)
	if !ok || row.Value.UUID != c.UUID {
		return nil
	}
	_, err := s.Store.Commit(ctx, s.table.RemoveAt(row.Revision, row.Path...))
	return err
}

func (s *Service) recoverPorts(_ context.Context, c change) error {
	row, ok := s.table.Get(c.Project, c.Name)
	if !ok || row.Value.UUID != c.UUID {
		return nil // with the bridge its ports are free
	}
	return detachPorts(row.Value, c.Ports)
}
