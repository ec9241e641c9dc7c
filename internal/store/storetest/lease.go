package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
)

const ttl = time.Second // engines may make more of it

func grant(t *testing.T, e store.Engine) (id store.LeaseID, asked time.Time) {
	t.Helper()
	asked = time.Now()
	id, err := e.Grant(t.Context(), ttl)
	if err != nil || id == 0 {
		t.Fatalf("lease %d, %v", id, err)
	}
	return id, asked
}

func testLeaseExpires(t *testing.T, in in) {
	id, asked := grant(t, in.e)
	rev := must(t, in.e, Put("/lock/a", "me").Under(id), Put("/lock/b", "me").Under(id), Put("/stays", "x"))
	w := watch(t, in.other, "/", rev)
	seen := w.next(t)
	if !strings.Contains(seen, "-/lock/a@") || !strings.Contains(seen, "-/lock/b@") || strings.Contains(seen, "/stays") {
		t.Errorf("the end of a lease is seen as %s", seen)
	}
	if after := time.Since(asked); after < ttl {
		t.Errorf("a lease of %s ended after %s", ttl, after)
	}
	expect(t, "what stays", show(t, in.e, "/"), at("/stays=x@", rev))
	if err := in.e.Renew(t.Context(), id); !errors.Is(err, store.ErrNoLease) {
		t.Errorf("renewal of a lease that ended: %v", err)
	}
	if _, err := in.e.Commit(t.Context(), []store.Op{Put("/other", "x"), Put("/lock/a", "me").Under(id)}); !errors.Is(err, store.ErrNoLease) {
		t.Errorf("a put under a lease that ended: %v", err)
	}
	if err := in.e.Revoke(t.Context(), id); err != nil {
		t.Errorf("revocation of a lease that ended: %v", err)
	}
	expect(t, "what stays", show(t, in.e, "/"), at("/stays=x@", rev))
}

// testLeaseRenewed renews a lease past its time, through either engine, and then no more.
func testLeaseRenewed(t *testing.T, in in) {
	id, asked := grant(t, in.e)
	rev := must(t, in.e, Put("/lock", "me").Under(id))
	w := watch(t, in.e, "/", rev)
	tick := time.NewTicker(ttl / 4)
	defer tick.Stop()
	var renewed time.Time
	for n := 0; time.Since(asked) < 3*ttl; n++ {
		<-tick.C
		e := in.e
		if n%2 == 1 {
			e = in.other
		}
		renewed = time.Now()
		if err := e.Renew(t.Context(), id); err != nil {
			t.Fatalf("after %s: %v", time.Since(asked), err)
		}
	}
	if seen := w.next(t); !strings.HasPrefix(seen, "-/lock@") || time.Since(renewed) < ttl {
		t.Errorf("%s after the last renewal: %s", time.Since(renewed), seen)
	}
}

func testLeaseRevoked(t *testing.T, in in) {
	id, err := in.e.Grant(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := in.e.Grant(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	rev := must(t, in.e, Put("/lock/a", "me").Under(id), Put("/lock/b", "other").Under(other))
	if err := in.other.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	expect(t, "what stays", show(t, in.e, "/"), at("/lock/b=other@", rev))
	if err := in.e.Revoke(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	expect(t, "what stays", show(t, in.e, "/"), "")
}

// testLeaseLeft takes keys from under a lease: by a put without one, by a put under another, by a delete and a put.
func testLeaseLeft(t *testing.T, in in) {
	id, _ := grant(t, in.e)
	long, err := in.e.Grant(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	must(t, in.e, Put("/put", "1").Under(id), Put("/moved", "1").Under(id), Put("/deleted", "1").Under(id))
	must(t, in.e, Put("/put", "2"), Put("/moved", "2").Under(long), del("/deleted"))
	rev := must(t, in.e, Put("/deleted", "2"))
	if err := in.e.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := show(t, in.e, "/"); !strings.HasPrefix(got, at("/deleted=2@", rev)) || strings.Count(got, "=2@") != 3 {
		t.Errorf("what stays: %s", got)
	}
}

func testSession(t *testing.T, in in) {
	session, err := store.NewSession(t.Context(), in.e, ttl)
	if err != nil {
		t.Fatal(err)
	}
	rev := must(t, in.e, Put("/lock", "me").Under(session.Lease()))
	w := watch(t, in.other, "/", rev)
	select {
	case <-session.Lost():
		t.Error("a session was lost")
	case events := <-w.events:
		t.Errorf("within a session: %s", events)
	case <-time.After(3 * ttl): // it outlives its time to live
	}
	if err := in.other.Revoke(t.Context(), session.Lease()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-session.Lost():
	case <-time.After(patience):
		t.Error("a session does not notice that its lease has ended")
	}
	if seen := w.next(t); !strings.HasPrefix(seen, "-/lock@") {
		t.Errorf("after the session: %s", seen)
	}
	if err := session.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
