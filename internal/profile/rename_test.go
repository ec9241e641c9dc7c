package profile

import (
	"errors"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// names are those of the profiles beside "default", each with a "!" while it is being renamed.
func names(s *Service) (list string) {
	for _, row := range s.table.List("default") {
		if row.Path[1] != "default" {
			list += row.Path[1]
		}
		if row.Value.Renaming != "" {
			list += "!"
		}
	}
	return list
}

func TestAProfileOfAnyNumberOfInstancesIsRenamed(t *testing.T) {
	s, f, _ := newService(t)
	f.many = 3 * store.MaxOps
	must(t, s.Create(t.Context(), "default", api.ProfilesPost{Name: "p"}))
	must(t, s.Rename(t.Context(), "default", "p", "q"))
	if got := names(s); got != "q" || s.journal.Pending() != 0 {
		t.Errorf("there are %q, and %d entries in the journal", got, s.journal.Pending())
	}
}

// The first of its commits is written, and a later one is not.
func TestARenameThatFailsIsTakenBack(t *testing.T) {
	s, f, seen := newService(t)
	must(t, s.Create(t.Context(), "default", api.ProfilesPost{Name: "p"}))
	f.users["p"], f.many, f.conflicts = []string{"/1.0/instances/c1"}, 2*store.MaxOps, 1
	before := len(*seen)
	if err := s.Rename(t.Context(), "default", "p", "q"); !errors.Is(err, store.ErrConflict) {
		t.Error(err)
	}
	if got := names(s); got != "p" || s.journal.Pending() != 0 || f.users["q"] != nil || len(*seen) != before {
		t.Errorf("there are %q, used by %v; events %v", got, f.users, *seen)
	}
	must(t, s.Rename(t.Context(), "default", "p", "q"))
}

// Whatever a kill left is recovered by the profiles themselves, not by their names.
func TestARenameThatWasCutOff(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(s *Service) error
		want   string
	}{
		{"nothing happened since", func(*Service) error { return nil }, "q"},
		{"the old one was changed", func(s *Service) error {
			return s.Put(t.Context(), "default", "p", api.ProfilePut{Description: "other"}, func(store.Revision) error { return nil })
		}, "pq"},
		{"the new one was changed", func(s *Service) error {
			return s.Put(t.Context(), "default", "q", api.ProfilePut{Description: "other"}, func(store.Revision) error { return nil })
		}, "pq"},
		{"the old one is another's", func(s *Service) error {
			return errors.Join(s.Delete(t.Context(), "default", "p"), s.Create(t.Context(), "default", api.ProfilesPost{Name: "p"}))
		}, "pq"},
		{"the new one is gone", func(s *Service) error { return s.Delete(t.Context(), "default", "q") }, "p"},
	} {
		s, _, _ := newService(t)
		must(t, s.Create(t.Context(), "default", api.ProfilesPost{Name: "p"}))
		row, _ := s.table.Get("default", "p")
		left := renaming{Project: "default", Name: "p", New: "q", Old: row.Revision, ID: "x"}
		next := *row.Value
		next.Renaming = left.ID
		_, err := s.journal.Begin(t.Context(), kindRename, left, s.table.Create(&next, "default", "q"))
		must(t, err)
		must(t, c.before(s))
		for range 2 {
			must(t, s.journal.Recover(t.Context()))
		}
		if got := names(s); got != c.want || s.journal.Pending() != 0 {
			t.Errorf("%s: there are %q", c.name, got)
		}
	}
}
