package instance

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// TestAFailedCommitLeavesAllAsItWas has each change fail at each of its commits, on a daemon that lives: what was there before, with its
// content, mode, owner and record, is there after it, and nothing else.
func TestAFailedCommitLeavesAllAsItWas(t *testing.T) {
	ctx := t.Context()
	for name, do := range map[string]func(h *house) error{
		"create": func(h *house) error {
			return h.run(h.Create(ctx, "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "image", Alias: "img"}}))
		},
		"copy": func(h *house) error {
			return h.run(h.Create(ctx, "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}))
		},
		"snapshot": func(h *house) error {
			return h.run(h.CreateSnapshot(ctx, "default", "c1", api.InstanceSnapshotsPost{Name: "s2"}))
		},
		"snapshot rename": func(h *house) error {
			return h.run(h.RenameSnapshot(ctx, "default", "c1", "s1", api.InstanceSnapshotPost{Name: "s2"}))
		},
		"rename": func(h *house) error { return h.run(h.Post(ctx, "default", "c1", api.InstancePost{Name: "c2"})) },
		"move": func(h *house) error {
			return h.run(h.Post(ctx, "default", "c1", api.InstancePost{Name: "c1", Pool: "p2", Migration: true}))
		},
		"restore": func(h *house) error {
			return h.run(h.Put(ctx, "default", "c1", api.InstancePut{Restore: "s1"}, anyRevision))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				h := newHouse(t, nil)
				h.create("c1", nil)
				h.do(h.run(h.CreateSnapshot(ctx, "default", "c1", api.InstanceSnapshotsPost{Name: "s1"})))
				h.do(os.WriteFile(filepath.Join(h.volumes.Path(h.record("c1").volume()), "rootfs", "since"), []byte("text"), 0o640))
				h.do(os.MkdirAll(filepath.Dir(h.volumes.Path(storage.VolumeID{Pool: "p2", Name: "c1"})), 0o755)) // where the pool's volumes come to
				h.do(os.MkdirAll(filepath.Dir(filepath.Dir(h.volumes.Path(storage.VolumeID{Pool: "p2", Name: "c1", Snapshot: "s"}))), 0o755))
				before := h.everything()
				left := n
				h.engine.refuse = func(ops []store.Op) error {
					if len(ops) == 1 && ops[0].Delete && strings.HasPrefix(ops[0].Key, "/journal/") {
						return nil // what it ends is over
					}
					if left--; left == -1 {
						return syscall.ENOSPC
					}
					return nil
				}
				err := do(h)
				h.engine.refuse = nil
				if err == nil {
					if n == 0 {
						t.Error("it needs no commit")
					}
					return
				}
				if after := h.everything(); !slices.Equal(before, after) {
					t.Errorf("commit %d fails (%v):\n%s", n, err, strings.Join(changedLines(before, after), "\n"))
				}
				if h.Journal.Pending() != 0 {
					t.Errorf("commit %d fails: %d journal entries", n, h.Journal.Pending())
				}
			}
		})
	}
}

// everything lists the files of a house with what they are, and its records.
func (h *house) everything() (all []string) {
	h.t.Helper()
	h.do(filepath.WalkDir(h.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text := ""
		switch {
		case e.Type() == fs.ModeSymlink:
			text, err = os.Readlink(path)
		case e.Type().IsRegular():
			var raw []byte
			raw, err = os.ReadFile(path)
			text = string(raw)
		}
		st := info.Sys().(*syscall.Stat_t)
		all = append(all, fmt.Sprintf("%s %s %d:%d %q", strings.TrimPrefix(path, h.root), info.Mode(), st.Uid, st.Gid, text))
		return err
	}))
	tell := func(what string, path []string, v any) {
		raw, err := json.Marshal(v)
		h.do(err)
		all = append(all, fmt.Sprintf("%s %v %s", what, path, raw))
	}
	for _, row := range h.instances.List() {
		tell("instance", row.Path, row.Value)
	}
	for _, row := range h.snapshots.List() {
		tell("snapshot", row.Path, row.Value)
	}
	for _, row := range h.volumes.table.List() {
		tell("volume", row.Path, nil)
	}
	return all
}

func changedLines(before, after []string) (out []string) {
	for _, s := range before {
		if !slices.Contains(after, s) {
			out = append(out, "- "+s)
		}
	}
	for _, s := range after {
		if !slices.Contains(before, s) {
			out = append(out, "+ "+s)
		}
	}
	return out
}

// TestFoldersAreClosedToTheHostsUsers: set-id programs inside, and what is secret there, are out of their reach, however an instance came
// to be, and while it runs.
func TestFoldersAreClosedToTheHostsUsers(t *testing.T) {
	ctx := t.Context()
	h := newHouse(t, nil)
	h.create("c1", nil)
	closed := func(when, name string, owner uint32) {
		t.Helper()
		info, err := os.Stat(h.volumes.Path(h.record(name).volume()))
		h.do(err)
		if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o100 || st.Uid != owner || st.Gid != owner {
			t.Errorf("%s: mode %s, owner %d:%d, want 0100 and %d", when, info.Mode(), st.Uid, st.Gid, owner)
		}
	}
	closed("created", "c1", 0)
	h.do(h.run(h.Create(ctx, "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "none"}})))
	closed("empty", "c2", 0)
	h.do(h.action("c1", "start"))
	m := h.rt.specs["c1"].IDMap
	if len(m) == 0 {
		t.Fatal("it runs without a map")
	}
	closed("running", "c1", uint32(m[0].HostID))
	h.do(h.action("c1", "stop"))
	h.do(h.run(h.Create(ctx, "default", api.InstancesPost{Name: "c3", Source: api.InstanceSource{Type: "copy", Source: "c1"}})))
	closed("copied", "c3", 0)
}

// TestARenameBeforeTheFirstStart leaves what the templates of a creation are to write to that start.
func TestARenameBeforeTheFirstStart(t *testing.T) {
	for _, started := range []bool{false, true} {
		h := newHouse(t, nil)
		h.create("c1", nil)
		want := "create"
		if started {
			h.do(h.action("c1", "start"))
			h.do(h.action("c1", "stop"))
			want = "rename"
		}
		h.do(h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "c2"})))
		if got := h.record("c2").Config["volatile.apply_template"]; got != want {
			t.Errorf("started before %v: %q is to be applied, want %q", started, got, want)
		}
	}
}
