package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// many are certificates that name one project each, too many for one commit.
type many struct {
	table *store.Table[string]
	fails bool // to follow to "z", once some have
	stuck bool // to follow at all
}

func (m *many) RenameProject(old, renamed string) (ops []store.Op) {
	for _, row := range m.table.List() {
		switch {
		case m.stuck:
			ops = append(ops, m.table.RemoveAt(row.Revision+1000, row.Path...)) // never comes true
		case *row.Value == old:
			ops = append(ops, m.table.Replace(row, &renamed))
		case m.fails && renamed == "z" && *row.Value == "z":
			ops = append([]store.Op{m.table.RemoveAt(row.Revision+1000, row.Path...)}, ops...) // never comes true
		}
	}
	return ops
}

func (m *many) RemoveProject(name string) []store.Op { return m.RenameProject(name, "") }

func (m *many) count(name string) (n int) {
	for _, row := range m.table.List() {
		if *row.Value == name {
			n++
		}
	}
	return n
}

// TestARenameOfManyCertificatesIsWholeOrNotAtAll, whether it fails on the way or is cut off.
func TestARenameOfManyCertificatesIsWholeOrNotAtAll(t *testing.T) {
	db := store.New(store.NewMemory())
	m := &many{table: store.NewTable[string](db, "names")}
	s := New(Deps{Store: db, Certificates: m})
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	const all = 150
	for n := range all {
		name := "a"
		if _, err := db.Commit(t.Context(), m.table.Put(&name, fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
	}
	m.fails = true
	if err := s.commitRename(t.Context(), "a", "z", nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("one that cannot be finished: %v", err)
	}
	if n := m.count("a"); n != all {
		t.Errorf("after it %d have the old name", n)
	}
	m.fails = false
	// As a kill leaves it: an entry, and some with the new name.
	if _, err := db.Commit(t.Context(), m.RenameProject("a", "z")[:namedAtOnce]...); err != nil {
		t.Fatal(err)
	}
	entry, err := json.Marshal(renaming{"a", "z"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.undoRename(t.Context(), entry); err != nil || m.count("a") != all {
		t.Errorf("taken up again: %v, %d have the old name", err, m.count("a"))
	}
	if err := s.commitRename(t.Context(), "a", "z", []store.Op{s.table.Create(&record{}, "z")}); err != nil || m.count("z") != all {
		t.Errorf("%v, %d have the new name", err, m.count("z"))
	}
	if s.Check("z") != nil || s.Check("a") == nil {
		t.Error("the project's own ops are not done")
	}
	if err := s.Journal.Recover(t.Context()); err != nil || m.count("z") != all { // nothing is left to be taken back
		t.Errorf("%v, %d", err, m.count("z"))
	}
}

// TestARenameThatCouldNotBeTakenBackKeepsTheNewName: some certificates have it already, and would be let into whatever is made under it.
func TestARenameThatCouldNotBeTakenBackKeepsTheNewName(t *testing.T) {
	db := store.New(store.NewMemory())
	m := &many{table: store.NewTable[string](db, "names")}
	s := New(Deps{Store: db, Certificates: m, Locks: &lock.Manager{}, Events: event.Nobody{}})
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	const all = 150
	for n := range all {
		name := "a"
		if n < namedAtOnce {
			name = "z"
		}
		if _, err := db.Commit(t.Context(), m.table.Put(&name, fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Journal.Begin(t.Context(), kindRename, renaming{"a", "z"}); err != nil {
		t.Fatal(err)
	}
	m.stuck = true
	_ = s.Journal.Recover(t.Context()) // it is told of by the log
	if err := s.Create(t.Context(), api.ProjectsPost{Name: "z"}); api.StatusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("a project of that name: %v", err)
	}
	m.stuck = false
	s.Journal.Settle(t.Context(), nameObject("z"), never)
	if err := s.unsettled("z"); err != nil || m.count("a") != all {
		t.Errorf("once it can be taken back: %v, and %d have the old name", err, m.count("a"))
	}
}
