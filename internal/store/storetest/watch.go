package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/berthd/berth/internal/store"
)

func testWatch(t *testing.T, in in) {
	w := watch(t, in.other, "/a/", now(t, in.e))
	first := must(t, in.e, Put("/a/1", "x"), Put("/b/1", "x"), Put("/a/2", "y"))
	must(t, in.e, Put("/b/1", "z"))
	last := must(t, in.e, del("/a/1"))
	expect(t, "first", w.next(t), at("+/a/1=x@", first)+" "+at("+/a/2=y@", first))
	expect(t, "second", w.next(t), at("-/a/1@", last))

	ends := watch(t, in.e, "/", last)
	rev := must(t, in.e, Put("/last", "x"))
	expect(t, "before the close", ends.next(t), at("+/last=x@", rev))
	_ = in.e.Close()
	if err := ends.ended(t); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after the close: %v", err)
	}
}

func testWatchAfter(t *testing.T, in in) {
	var revs []store.Revision
	for i := range 5 {
		revs = append(revs, must(t, in.e, Put("/a", fmt.Sprint(i+1))))
	}
	w := watch(t, in.other, "/", revs[2])
	expect(t, "4", w.next(t), at("+/a=4@", revs[3]))
	expect(t, "5", w.next(t), at("+/a=5@", revs[4]))
}

func testWatchTooOld(t *testing.T, in in) {
	first := must(t, in.e, Put("/a", "1"))
	must(t, in.e, Put("/a", "2"))
	last := must(t, in.e, Put("/a", "3"))
	in.Forget(t, in.e)
	if err := watch(t, in.other, "/", first).ended(t); !errors.Is(err, store.ErrTooOld) {
		t.Errorf("watch from before: %v", err)
	}
	expect(t, "a scan", show(t, in.other, "/a"), at("/a=3@", last))
	w := watch(t, in.other, "/", now(t, in.other))
	rev := must(t, in.e, Put("/b", "x"))
	expect(t, "watch from now", w.next(t), at("+/b=x@", rev))
}

func testWatchEnds(t *testing.T, in in) {
	w := watch(t, in.e, "/", now(t, in.e))
	must(t, in.e, Put("/a", "x"))
	w.next(t)
	w.cancel()
	if err := w.ended(t); !errors.Is(err, context.Canceled) {
		t.Errorf("a watch whose context ended: %v", err)
	}
	must(t, in.e, Put("/a", "y"))
	select {
	case events := <-w.events:
		t.Errorf("a watch that has ended sees %s", events)
	default:
	}
}
