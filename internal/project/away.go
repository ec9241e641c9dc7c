package project

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

const kindRename = "project.rename"

// undoTime is how long it may take to take a rename back that has failed.
const undoTime = time.Minute

// renaming is the journal's record of a rename whose certificates follow in several steps. Should it be cut off, they are given back the old name:
// the new one may be somebody else's later.
type renaming struct {
	Name string `json:"name"`
	New  string `json:"new"`
}

// commitRename is commitNamed for a rename: all of it, or nothing.
func (s *Service) commitRename(ctx context.Context, name, newName string, ops []store.Op) error {
	var entry *journal.Entry
	named := func(c CertificatesOf) []store.Op {
		follow := c.RenameProject(name, newName)
		if entry != nil && len(follow) <= namedAtOnce { // the last step
			follow = append(follow, entry.Done())
		}
		return follow
	}
	err := s.commitNamed(ctx, ops, named, func() (err error) {
		entry, err = s.Journal.Begin(ctx, kindRename, renaming{name, newName})
		return err
	})
	if err == nil || entry == nil {
		return err
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if uerr := s.giveBack(undo, renaming{name, newName}, entry.Done()); uerr != nil {
		entry.Leave(uerr)
		return errors.Join(err, uerr)
	}
	return err
}

// undoRename gives what was left between two names the old one back.
func (s *Service) undoRename(ctx context.Context, data json.RawMessage) error {
	var e renaming
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	if s.Check(e.New) == nil { // it had not come to that: another project has the name since
		return nil
	}
	return s.giveBack(ctx, e)
}

func (s *Service) giveBack(ctx context.Context, e renaming, last ...store.Op) error {
	return s.commitNamed(ctx, last, func(c CertificatesOf) []store.Op { return c.RenameProject(e.New, e.Name) }, func() error { return nil })
}

// nameObject is a name that an unfinished rename was to give: some certificates have it already, so nobody else gets it until that is settled.
func nameObject(name string) string { return "project name " + name }

// guardRenames has unfinished renames tried again, and keep the new name for themselves.
func (s *Service) guardRenames() {
	of := func(data json.RawMessage) (e renaming, err error) {
		err = json.Unmarshal(data, &e)
		return e, err
	}
	s.Journal.Guard(kindRename, journal.Guard{
		Objects: func(data json.RawMessage) []string {
			e, err := of(data)
			if err != nil {
				return nil
			}
			return []string{nameObject(e.New)}
		},
		Hold: func(ctx context.Context, data json.RawMessage) (func(), error) {
			e, err := of(data)
			if err != nil {
				return nil, err
			}
			held, err := s.hold(ctx, "recover", e.Name, e.New)
			if err != nil {
				return nil, err
			}
			return held.Release, nil
		},
	})
}

func never(string) bool { return false }

// unsettled fails while an unfinished rename keeps a name.
func (s *Service) unsettled(name string) error {
	if err := s.Journal.Unsettled(nameObject(name), never); err != nil {
		return api.Unavailable("Project %q: %w", name, err)
	}
	return nil
}
