package image

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// between is an engine in which something comes between what a deletion of an image has read and its commit.
type between struct {
	*store.Memory
	once sync.Once
	call func()
}

func (b *between) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	for _, op := range ops {
		if b.call != nil && op.Delete && strings.HasPrefix(op.Key, "/images/") {
			b.once.Do(b.call)
		}
	}
	return b.Memory.Commit(ctx, ops)
}

// TestADeletedImageTakesItsOwnAliases: one that names another image by then stays, and one that was renamed goes too.
func TestADeletedImageTakesItsOwnAliases(t *testing.T) {
	engine := &between{Memory: store.NewMemory()}
	s, j := newService(t, engine, t.TempDir())
	ctx := t.Context()
	first, err := importFile(t, s, unified(t), Request{Aliases: []api.ImageAlias{{Name: "kept"}, {Name: "renamed"}, {Name: "mine"}}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := importFile(t, s, unified(t, file{name: "rootfs/other", data: "x"}), Request{})
	if err != nil {
		t.Fatal(err)
	}
	engine.call = func() {
		if err := s.UpdateAlias(ctx, "default", "kept", put(api.ImageAliasesEntryPut{Target: second.Fingerprint}), anyRevision); err != nil {
			t.Error(err)
		}
		if _, err := s.RenameAlias(ctx, "default", "renamed", "new"); err != nil {
			t.Error(err)
		}
	}
	task, err := s.Delete(ctx, "default", first.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Run(ctx, operation.NoProgress{}); err != nil {
		t.Fatal(err)
	}
	left := s.Aliases(ctx, "default", false)
	if len(left) != 1 || left[0].Name != "kept" || left[0].Target != second.Fingerprint {
		for _, a := range left {
			t.Errorf("left is %s -> %s", a.Name, a.Target)
		}
		t.Errorf("%d aliases are left", len(left))
	}
	if n := j.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

// named is an engine that is asked what an alias comes to name before it is written.
type named struct {
	*store.Memory
	call func(target string)
}

func (n *named) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	for _, op := range ops {
		var to alias
		if strings.HasPrefix(op.Key, "/image-aliases/") && json.Unmarshal(op.Value, &to) == nil {
			n.call(to.Target)
		}
	}
	return n.Memory.Commit(ctx, ops)
}

// TestAnImageThatGetsAnAliasStays: whoever gives it one holds it until that is written, or the alias may come to name an image that
// was deleted meanwhile.
func TestAnImageThatGetsAnAliasStays(t *testing.T) {
	engine := &named{Memory: store.NewMemory(), call: func(string) {}}
	s, _ := newService(t, engine, t.TempDir())
	ctx, far := t.Context(), &shop{data: unified(t)}
	s.Remote = far
	src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: "https://far", Alias: "web"}}
	pull := func(aliases ...api.ImageAlias) (string, error) {
		return s.pull(ctx, operation.NoProgress{}, src, Request{Project: "default", Aliases: aliases})
	}
	first, err := pull()
	if err != nil {
		t.Fatal(err)
	}
	other, err := importFile(t, s, unified(t, file{name: "rootfs/other", data: "x"}), Request{})
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name string
		call func() error
	}{
		{"a new alias", func() error {
			_, err := s.CreateAlias(ctx, "default", api.ImageAliasesPost{ImageAliasesEntry: api.ImageAliasesEntry{Name: "a", ImageAliasesEntryPut: api.ImageAliasesEntryPut{Target: other.Fingerprint}}})
			return err
		}},
		{"an alias that changes", func() error {
			return s.UpdateAlias(ctx, "default", "a", put(api.ImageAliasesEntryPut{Target: first}), anyRevision)
		}},
		{"a fetch of what is here", func() error { _, err := pull(api.ImageAlias{Name: "b"}); return err }},
		{"a refresh", func() error {
			far.sell(unified(t, file{name: "rootfs/new", data: "y"}))
			task, err := s.Refresh(ctx, "default", first)
			if err != nil {
				return err
			}
			return task.Run(ctx, operation.NoProgress{})
		}},
	} {
		named := 0
		engine.call = func(target string) {
			named++
			if mine, _ := s.Locks.Try(lock.Claim{Action: "delete"}, lock.Exclusive(lock.ForImage(target))); mine != nil {
				mine.Release()
				t.Errorf("%s: the image could be deleted before it has its alias", way.name)
			}
		}
		if err := way.call(); err != nil || named == 0 {
			t.Errorf("%s: %v, %d aliases written", way.name, err, named)
		}
	}
}
