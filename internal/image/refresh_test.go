package image

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// fetched is a service with a public image that came from a shop by the alias "web", and the shop, which has a newer one by now.
func fetched(t *testing.T, engine store.Engine, aliases ...api.ImageAlias) (s *Service, j *journal.Journal, far *shop, old string) {
	t.Helper()
	s, j = newService(t, engine, t.TempDir())
	far = &shop{data: unified(t)}
	s.Remote = far
	src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: "https://far", Alias: "web"}}
	old, err := s.pull(t.Context(), operation.NoProgress{}, src, Request{Project: "default", Public: true, AutoUpdate: true, Aliases: aliases})
	if err != nil {
		t.Fatal(err)
	}
	far.sell(unified(t, file{name: "rootfs/new", data: "y"}))
	return s, j, far, old
}

func refreshed(s *Service, ctx context.Context, name string) error {
	task, err := s.Refresh(ctx, "default", name)
	if err != nil {
		return err
	}
	return task.Run(ctx, operation.NoProgress{})
}

// clean fails if the service keeps files of images that there are not, or unfinished changes.
func clean(t *testing.T, s *Service, j *journal.Journal, images ...string) {
	t.Helper()
	if left := names(t, s.Dir); !slices.Equal(left, images) {
		t.Errorf("the files are %v, of %v", left, images)
	}
	if n := j.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

// written is an engine in which something comes between what is read for a new image and the commit of its record.
type written struct {
	*store.Memory
	key  string
	call func()
}

func (w *written) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	for _, op := range ops {
		if call := w.call; call != nil && op.Key == w.key && !op.Delete {
			w.call = nil
			call()
		}
	}
	return w.Memory.Commit(ctx, ops)
}

// TestARefreshKeepsWhatWasChangedMeanwhile: what an administrator makes private while its successor is fetched, or in the instant before
// that is written, does not come out public.
func TestARefreshKeepsWhatWasChangedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct{ update, rename, late bool }{
		"while it is fetched":              {update: true, rename: true},
		"its record at the last instant":   {update: true, late: true},
		"its aliases at the last instant":  {rename: true, late: true},
		"all of it at the last instant":    {update: true, rename: true, late: true},
		"nothing is changed, all is taken": {},
	} {
		t.Run(name, func(t *testing.T) {
			engine := &written{Memory: store.NewMemory()}
			s, j, far, old := fetched(t, engine, api.ImageAlias{Name: "a"}, api.ImageAlias{Name: "b"})
			ctx := t.Context()
			profiles, last := "default", "b"
			change := func() {
				if c.update {
					profiles = "p"
					if err := s.Update(ctx, "default", old, put(api.ImagePut{Profiles: []string{"p"}}), anyRevision); err != nil {
						t.Error(err)
					}
				}
				if c.rename {
					last = "c"
					if _, err := s.RenameAlias(ctx, "default", "b", "c"); err != nil {
						t.Error(err)
					}
				}
			}
			if c.late {
				engine.key, engine.call = "/images/default/"+far.fingerprint(), change
			} else {
				far.during = change
			}
			if err := refreshed(s, ctx, old); err != nil {
				t.Fatal(err)
			}
			img, _, err := s.Get(ctx, "default", far.fingerprint())
			if err != nil {
				t.Fatal(err)
			}
			if img.Public == c.update || img.AutoUpdate == c.update || !slices.Equal(img.Profiles, []string{profiles}) {
				t.Errorf("public %v, auto_update %v, profiles %v", img.Public, img.AutoUpdate, img.Profiles)
			}
			if len(img.Aliases) != 2 || img.Aliases[0].Name != "a" || img.Aliases[1].Name != last {
				t.Errorf("the aliases are %v", img.Aliases)
			}
			if _, _, err := s.Get(ctx, "default", old); !api.IsNotFound(err) {
				t.Errorf("the old image: %v", err)
			}
			clean(t, s, j, far.fingerprint())
		})
	}
}

// TestADeletedImageIsNotRefreshed: what was deleted while its successor was fetched does not come back.
func TestADeletedImageIsNotRefreshed(t *testing.T) {
	s, j, far, old := fetched(t, store.NewMemory())
	ctx := t.Context()
	far.during = func() {
		task, err := s.Delete(ctx, "default", old)
		if err != nil {
			t.Fatal(err)
		}
		if err := task.Run(ctx, operation.NoProgress{}); err != nil {
			t.Error(err)
		}
	}
	if err := refreshed(s, ctx, old); !api.IsNotFound(err) {
		t.Errorf("refreshed: %v", err)
	}
	if list := s.List(ctx, "default", false); len(list) != 0 {
		t.Errorf("there is an image again: %+v", list[0])
	}
	clean(t, s, j)
}

// TestAnImageThatIsNotToBeUpdatedAnyMoreStays: the timer's run is about images as they are when it comes to them, and when it has fetched
// their successors.
func TestAnImageThatIsNotToBeUpdatedAnyMoreStays(t *testing.T) {
	s, j, far, old := fetched(t, store.NewMemory())
	ctx, fetches := t.Context(), 0
	far.during = func() {
		fetches++
		if err := s.Update(ctx, "default", old, put(api.ImagePut{Public: true}), anyRevision); err != nil {
			t.Error(err)
		}
	}
	s.updateAll(ctx, "default")
	s.updateAll(ctx, "default")
	if fetches != 1 {
		t.Errorf("%d fetches", fetches)
	}
	if img, _, err := s.Get(ctx, "default", old); err != nil || img.AutoUpdate {
		t.Errorf("%+v, %v", img, err)
	}
	clean(t, s, j, old)
}

// TestARefreshFindsTheNewImageThere, because somebody else has fetched it, before or meanwhile: it stays as it is, and gets the aliases.
func TestARefreshFindsTheNewImageThere(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		t.Run(fmt.Sprint("meanwhile ", meanwhile), func(t *testing.T) {
			s, j, far, old := fetched(t, store.NewMemory(), api.ImageAlias{Name: "a"})
			fetch := func() {
				if _, err := importFile(t, s, far.offer(), Request{}); err != nil {
					t.Error(err)
				}
			}
			if meanwhile {
				far.during = fetch
			} else {
				fetch()
			}
			if err := refreshed(s, t.Context(), old); err != nil {
				t.Fatal(err)
			}
			img, _, err := s.Get(t.Context(), "default", far.fingerprint())
			if err != nil || img.Public || len(img.Aliases) != 1 {
				t.Errorf("%+v, %v", img, err)
			}
			clean(t, s, j, far.fingerprint())
		})
	}
}

// TestARefreshMovesAnyNumberOfAliases, more than go into one commit; what is changed between two of these is not lost either.
func TestARefreshMovesAnyNumberOfAliases(t *testing.T) {
	const many = 2*fewAliases + 3
	var aliases []api.ImageAlias
	for n := range many {
		aliases = append(aliases, api.ImageAlias{Name: fmt.Sprintf("a%03d", n), Description: "d"})
	}
	engine := &written{Memory: store.NewMemory()}
	s, j, far, old := fetched(t, engine, aliases...)
	engine.key, engine.call = "/image-aliases/default/a100", func() {
		if err := s.Update(t.Context(), "default", old, put(api.ImagePut{}), anyRevision); err != nil {
			t.Error(err)
		}
	}
	if err := refreshed(s, t.Context(), old); err != nil {
		t.Fatal(err)
	}
	img, _, err := s.Get(t.Context(), "default", far.fingerprint())
	if err != nil || img.Public || len(img.Aliases) != many || img.Aliases[many-1].Description != "d" {
		t.Errorf("%v, public %v, %d aliases", err, img.Public, len(img.Aliases))
	}
	if engine.call != nil {
		t.Error("nothing was changed between two commits")
	}
	clean(t, s, j, far.fingerprint())
}

// TestAnImageThatWasJustUsedIsNotDropped: whoever holds it when it is to go may be using it.
func TestAnImageThatWasJustUsedIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newService(t, store.NewMemory(), t.TempDir())
		defer s.Store.Close()
		s.Setting = func(string, string) string { return "10" }
		r, err := importFile(t, s, unified(t), Request{Cached: true})
		if err != nil {
			t.Fatal(err)
		}
		held, _ := s.Locks.Try(lock.Claim{Action: "use", Brief: true}, lock.Shared(lock.ForImage(r.Fingerprint)))
		go s.dropUnused(t.Context(), time.Now().AddDate(0, 0, 11))
		synctest.Wait()
		used := &use{At: time.Now().AddDate(0, 0, 11)}
		if _, err := s.Store.Commit(t.Context(), s.uses.Put(used, "default", r.Fingerprint)); err != nil {
			t.Error(err)
		}
		held.Release()
		synctest.Wait()
		if _, _, err := s.Get(t.Context(), "default", r.Fingerprint); err != nil {
			t.Error(err)
		}
	})
}
