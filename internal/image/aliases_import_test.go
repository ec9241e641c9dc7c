package image

import (
	"context"
	"fmt"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

func manyAliases() (list []api.ImageAlias) {
	for n := range 3 * store.MaxOps {
		list = append(list, api.ImageAlias{Name: fmt.Sprintf("a%d", n)})
	}
	return list
}

func TestAnImageOfAnyNumberOfAliases(t *testing.T) {
	ctx, engine, dir := context.Background(), store.NewMemory(), t.TempDir()
	s, j := newService(t, engine, dir)
	r, err := importFile(t, s, unified(t), Request{Aliases: manyAliases()})
	if err != nil {
		t.Fatal(err)
	}
	count := func(s *Service) int {
		img, _, err := s.Get(ctx, "default", r.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		return len(img.Aliases)
	}
	if n := count(s); n != len(manyAliases()) || j.Pending() != 0 {
		t.Errorf("%d aliases, %d entries in the journal", n, j.Pending())
	}
	// A kill behind the commit of the image.
	for _, a := range s.aliases.List("default")[10:] {
		if _, err := s.Store.Commit(ctx, s.aliases.Remove(a.Path...)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Begin(ctx, kindAliases, aliasesEntry{Project: "default", Fingerprint: r.Fingerprint, Aliases: manyAliases()}); err != nil {
		t.Fatal(err)
	}
	s, j = newService(t, engine, dir)
	if err := j.Recover(ctx); err != nil || j.Pending() != 0 || count(s) != len(manyAliases()) {
		t.Errorf("%v: %d aliases, %d entries", err, count(s), j.Pending())
	}
	task, err := s.Delete(ctx, "default", r.Fingerprint)
	if err == nil {
		err = task.Run(ctx, operation.NoProgress{})
	}
	if left := s.aliases.List(); err != nil || len(left) != 0 {
		t.Errorf("%v: %d aliases of an image that is gone", err, len(left))
	}
}
