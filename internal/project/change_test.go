package project

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
)

// What the default profile has in it, which does not keep a project from being renamed, is not lost by that.
func TestARenamedProjectKeepsItsDefaultProfile(t *testing.T) {
	w := newWorld(t)
	w.create("blue", nil)
	w.create("shares", settings("features.profiles", "false"))
	mine := "root disk and limits"
	row, _ := w.profiles.Get("blue", "default")
	_, err := w.Store.Commit(t.Context(), w.profiles.Replace(row, &mine))
	w.do(err)
	w.do(w.run(w.Rename(t.Context(), "blue", "red")))
	w.do(w.run(w.Rename(t.Context(), "shares", "shares2")))
	if row, there := w.profiles.Get("red", "default"); !there || *row.Value != mine {
		t.Errorf("%v %v, want %q", there, row.Value, mine)
	}
	for _, name := range []string{"blue", "shares", "shares2"} {
		if _, there := w.profiles.Get(name, "default"); there {
			t.Errorf("%s has a default profile", name)
		}
	}
}

// Somebody changes a project just when it is looked whether it is empty: it goes, or gets its name, all the same.
func TestAProjectThatIsChangedMeanwhileIsDeletedAllTheSame(t *testing.T) {
	for name, change := range map[string]func(w *world) error{
		"delete": func(w *world) error { return w.Delete(t.Context(), "blue") },
		"rename": func(w *world) error { return w.run(w.Rename(t.Context(), "blue", "red")) },
	} {
		w := newWorld(t)
		w.create("blue", nil)
		patched := make(chan error, 10)
		patch := func() {
			patched <- w.Patch(t.Context(), "blue", api.ProjectPut{Description: "other"}, true, anyVersion)
		}
		begun := 0
		w.looked = func() {
			begun++
			if !w.admissions.TryLock() { // the change waits until this is done
				go patch()
				return
			}
			w.admissions.Unlock()
			patch()
		}
		w.do(change(w))
		for range begun {
			if err := <-patched; err != nil && !api.IsNotFound(err) {
				t.Errorf("%s: the change was refused: %v", name, err)
			}
		}
		if w.Check("blue") == nil || begun == 0 {
			t.Errorf("%s: it is there still", name)
		}
	}
}

// Whoever wants what a project with something in it cannot have is told so at once, whatever is being made there.
func TestARefusedDeletionOfAProjectKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("blue", nil)
		w.in["blue"] = []string{"/1.0/instances/c1?project=blue"}
		_, release, err := w.Hold(t.Context(), "copy", "blue")
		w.do(err)
		begun := time.Now()
		w.fails(w.Delete(t.Context(), "blue"), http.StatusBadRequest, "Only empty projects can be removed")
		w.fails(w.run(w.Rename(t.Context(), "blue", "red")), http.StatusBadRequest, "Only empty projects can be renamed")
		w.fails(w.set("blue", "features.images", "false"), http.StatusBadRequest, `Project feature "features.images" cannot be disabled`)
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("waited %s", waited)
		}
		release()
	})
}
