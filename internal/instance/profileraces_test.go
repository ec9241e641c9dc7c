package instance

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// dropped makes an instance with a snapshot "s" that names a profile, which the instance itself has no more.
func (h *house) dropped(name, profile string) {
	h.t.Helper()
	h.create(name, using(profile))
	h.do(h.run(h.CreateSnapshot(h.t.Context(), "default", name, api.InstanceSnapshotsPost{Name: "s"})))
	put := h.show(name).InstancePut
	put.Profiles = []string{"default"}
	h.do(h.run(h.Put(h.t.Context(), "default", name, put, anyRevision)))
}

func (h *house) profilesOfSnapshot(name string) []string {
	h.t.Helper()
	row, err := h.getSnapshot("default", name, "s")
	h.do(err)
	return row.Value.body().Profiles
}

// afterLook are instances beside which something happens when a rename has looked who has a profile.
type afterLook struct {
	*Service
	then func()
}

func (a afterLook) RenameProfile(home, old, name string) ([]store.Op, func() []store.Op) {
	ops, back := a.Service.RenameProfile(home, old, name)
	a.then()
	return ops, back
}

// A snapshot names a profile that its instance has no more; it gets another date while the profile is renamed.
func TestAProfileIsRenamedBesideChangesOfSnapshots(t *testing.T) {
	h := newHouse(t, nil)
	h.profile("pa", nil, nil)
	h.dropped("c1", "pa")
	when := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	changed := make(chan error, 1)
	change := func() {
		changed <- h.run(h.UpdateSnapshot(t.Context(), "default", "c1", "s", api.InstanceSnapshotPut{ExpiresAt: when}, anyRevision))
	}
	h.profiles.SetInstances(afterLook{h.Service, func() {
		if h.Locks.Holder(lock.ForInstance("default", "c1")) == nil {
			change()
		} else { // it waits until the rename is over
			go change()
		}
	}})
	h.do(h.profiles.Rename(t.Context(), "default", "pa", "pb"))
	h.do(<-changed)
	row, err := h.getSnapshot("default", "c1", "s")
	h.do(err)
	if got := h.profilesOfSnapshot("c1"); !slices.Equal(got, []string{"default", "pb"}) || !row.Value.ExpiresAt.Equal(when) {
		t.Errorf("%q, until %s", got, row.Value.ExpiresAt)
	}
}

// A rename fails, before or after it has reached those that use the profile. Somebody's snapshot names a profile of the new name, which is gone.
func TestAFailedRenameOfAProfileTouchesNobodyElsesSnapshots(t *testing.T) {
	for _, at := range []string{"/instance-snapshots/default/oj/s", "/profiles/default/oa"} {
		h := newHouse(t, nil)
		h.profile("ob", nil, nil)
		h.dropped("oi", "ob")
		h.do(h.profiles.Delete(t.Context(), "default", "ob"))
		h.profile("oa", nil, nil)
		h.create("user", using("oa"))
		h.dropped("oj", "oa")
		failed := false
		h.engine.refuse = func(ops []store.Op) error {
			if !failed && slices.ContainsFunc(ops, func(op store.Op) bool { return strings.HasPrefix(op.Key, at) }) {
				failed = true
				return errDead
			}
			return nil
		}
		if err := h.profiles.Rename(t.Context(), "default", "oa", "ob"); !errors.Is(err, errDead) {
			t.Fatalf("%s: %v", at, err)
		}
		for name, want := range map[string][]string{"oi": {"default", "ob"}, "oj": {"default", "oa"}} {
			if got := h.profilesOfSnapshot(name); !slices.Equal(got, want) {
				t.Errorf("%s: %s/s names %q, want %q", at, name, got, want)
			}
		}
		if got := h.show("user").Profiles; !slices.Equal(got, []string{"default", "oa"}) || h.Journal.Pending() != 0 {
			t.Errorf("%s: who uses it has %q; %d entries are left", at, got, h.Journal.Pending())
		}
		h.do(h.profiles.Rename(t.Context(), "default", "oa", "ob"))
	}
}

// What a change of a profile needs is busy for long: one that uses it, a volume that it names, or the ranges of IDs. Whoever changes the profile
// meanwhile waits for that; whoever wants the profile, or who uses it, does not.
func TestAProfileThatCannotBeChangedNowKeepsNobodyWaiting(t *testing.T) {
	volume := storage.VolumeID{Pool: "p1", Project: "default", Type: storage.VolumeCustom, Name: "v"}
	disk := map[string]map[string]string{"d": {"type": "disk", "pool": "p1", "source": "v", "path": "/mnt"}}
	for name, one := range map[string]struct {
		busy   lock.Object
		change func(h *house) error
		status int
		text   string
	}{
		"update": {lock.ForInstance("default", "c1"), func(h *house) error { return h.putProfile("big", map[string]string{"user.a": "1"}, nil) },
			http.StatusBadRequest, `Instance is busy running a "create" operation`},
		"rename": {lock.ForInstance("default", "c1"), func(h *house) error { return h.profiles.Rename(h.t.Context(), "default", "big", "large") },
			http.StatusBadRequest, `Instance is busy running a "create" operation`},
		"volume": {volume.Object(), func(h *house) error { return h.putProfile("big", nil, disk) },
			http.StatusConflict, `Storage volume "v" is busy running a "create" operation`},
		"IDs": {lock.ForIDs(), func(h *house) error { return h.putProfile("big", map[string]string{"user.a": "1"}, nil) },
			http.StatusConflict, `ID range "host" is busy running a "create" operation`},
	} {
		for _, takes := range []time.Duration{time.Minute, 10 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.profile("big", nil, nil)
				h.create("c1", using("big"))
				copied, err := h.Locks.Acquire(t.Context(), claim("create", lock.Short), lock.Exclusive(one.busy))
				h.do(err)
				begun, changed := time.Now(), make(chan error)
				go func() { changed <- one.change(h) }()
				synctest.Wait()
				other, err := h.holdProfiles(t.Context(), "create", "default", []string{"big"})
				h.do(err)
				if waited := time.Since(begun); waited > lock.Grace {
					t.Errorf("%s: another waited %s for the profile", name, waited)
				}
				other.Release()
				if one.busy.Kind != lock.Instance {
					synctest.Wait()
					h.do(h.patch("c1", map[string]string{"user.b": "1"}, nil))
				}
				if waited := time.Since(begun); waited > 2*lock.Grace {
					t.Errorf("%s: another waited %s for who uses it", name, waited)
				}
				go func() {
					time.Sleep(takes - time.Since(begun))
					copied.Release()
				}()
				err = <-changed
				switch busy := takes > lock.Bound; {
				case busy && (api.StatusOf(err) != one.status || err.Error() != one.text || time.Since(begun) != lock.Bound):
					t.Errorf("%s: %v after %s", name, err, time.Since(begun))
				case !busy && (err != nil || time.Since(begun) != takes):
					t.Errorf("%s: %v after %s", name, err, time.Since(begun))
				}
				<-copied.Done()
			})
		}
	}
}
