package image

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
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
		if err := s.UpdateAlias(ctx, "default", "kept", api.ImageAliasesEntryPut{Target: second.Fingerprint}, 0); err != nil {
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
