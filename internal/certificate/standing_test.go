package certificate

import (
	"context"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// crossed is an engine that does something else just before the next commit.
type crossed struct {
	store.Engine
	first func()
}

func (e *crossed) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	if first := e.first; first != nil {
		e.first = nil
		first()
	}
	return e.Engine.Commit(ctx, ops)
}

// holder is the caller who shows a certificate with full rights, from the store or because an authority vouches for it.
func holder(cert *x509.Certificate, listed bool) context.Context {
	return request.WithCaller(context.Background(), request.Caller{
		Protocol: "tls", Username: Fingerprint(cert), Address: "192.0.2.1:5", Trusted: true, Rights: access.Full(), Listed: listed,
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestWhoIsRestrictedMeanwhileStaysSo: the administrator's change of a caller's certificate comes just before what the caller commits by the rights
// that it had. The caller hears 403, and nothing is changed but what the administrator changed.
func TestWhoIsRestrictedMeanwhileStaysSo(t *testing.T) {
	mine, other, more := newCert(t, "mine", time.Hour), newCert(t, "other", time.Hour), newCert(t, "more", time.Hour)
	restriction := `{"restricted":true,"projects":["a"]}`
	for taking, take := range map[string]func(s *Service) error{
		"restricted": func(s *Service) error { return s.Update(as(true), Fingerprint(mine), patch(restriction), always) },
		"removed":    func(s *Service) error { return s.Delete(as(true), Fingerprint(mine)) },
	} {
		for what, act := range map[string]func(s *Service, me context.Context) error{
			"undoes it": func(s *Service, me context.Context) error {
				return s.Update(me, Fingerprint(mine), patch(`{"restricted":false}`), always)
			},
			"renews": func(s *Service, me context.Context) error {
				return s.Update(me, Fingerprint(mine), patch(`{"restricted":false,"certificate":`+quoted(asPEM(more))+`}`), always)
			},
			"changes another": func(s *Service, me context.Context) error {
				return s.Update(me, Fingerprint(other), patch(`{"name":"evil"}`), always)
			},
			"removes another": func(s *Service, me context.Context) error { return s.Delete(me, Fingerprint(other)) },
			"adds one": func(s *Service, me context.Context) error {
				return added(s.Add(me, post("client", "", asPEM(more)), mine))
			},
			"makes a token": func(s *Service, me context.Context) error { return issued(s, me) },
		} {
			t.Run(taking+" and "+what, func(t *testing.T) {
				engine := &crossed{Engine: store.NewMemory()}
				s := load(t, engine, &fakeProjects{})
				for _, cert := range []*x509.Certificate{mine, other} {
					must(t, added(s.Add(as(true), post("client", "", asPEM(cert)), nil)))
				}
				var after string
				engine.first = func() {
					must(t, take(s))
					after = fmt.Sprint(s.List(as(true), nil))
				}
				err := act(s, holder(mine, true))
				if status := api.StatusOf(err); status != 403 && (taking != "removed" || status != 404) {
					t.Errorf("%v", err)
				}
				if now := fmt.Sprint(s.List(as(true), nil)); now != after || s.tokens.Len() > 0 {
					t.Errorf("%d tokens and\n%s\nafter the administrator's change:\n%s", s.tokens.Len(), now, after)
				}
			})
		}
	}
}

// TestAChangeThatTakesNothingFromTheCallerIsNotInTheWay: what is asked for is done, with what came meanwhile.
func TestAChangeThatTakesNothingFromTheCallerIsNotInTheWay(t *testing.T) {
	mine, more := newCert(t, "mine", time.Hour), newCert(t, "more", time.Hour)
	for what, act := range map[string]func(s *Service, me context.Context) error{
		"changes itself": func(s *Service, me context.Context) error {
			return s.Update(me, Fingerprint(mine), patch(`{"projects":["b"]}`), always)
		},
		"removes itself": func(s *Service, me context.Context) error { return s.Delete(me, Fingerprint(mine)) },
		"adds one": func(s *Service, me context.Context) error {
			return added(s.Add(me, post("client", "", asPEM(more)), mine))
		},
		"makes a token": func(s *Service, me context.Context) error { return issued(s, me) },
	} {
		engine := &crossed{Engine: store.NewMemory()}
		s := load(t, engine, &fakeProjects{})
		must(t, added(s.Add(as(true), post("client", "", asPEM(mine)), nil)))
		engine.first = func() { must(t, s.Update(as(true), Fingerprint(mine), patch(`{"name":"renamed"}`), always)) }
		if err := act(s, holder(mine, true)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if row, ok := s.table.Get(Fingerprint(mine)); ok != (what != "removes itself") || ok && row.Value.Name != "renamed" {
			t.Errorf("%s: %t %+v", what, ok, row.Value)
		}
	}
}

// TestWhoAnAuthorityVouchesForIsHeldToTheStoreOnceItIsThere.
func TestWhoAnAuthorityVouchesForIsHeldToTheStoreOnceItIsThere(t *testing.T) {
	mine, more := newCert(t, "mine", time.Hour), newCert(t, "more", time.Hour)
	engine := &crossed{Engine: store.NewMemory()}
	s := load(t, engine, &fakeProjects{})
	must(t, added(s.Add(holder(mine, false), post("client", "", asPEM(more)), mine)))
	must(t, s.Delete(holder(mine, false), Fingerprint(more)))
	engine.first = func() {
		put := post("client", "", asPEM(mine))
		put.Restricted, put.Projects = true, []string{"a"}
		must(t, added(s.Add(as(true), put, nil)))
	}
	if err := added(s.Add(holder(mine, false), post("client", "", asPEM(more)), mine)); api.StatusOf(err) != 403 {
		t.Errorf("%v", err)
	}
	if _, ok := s.table.Get(Fingerprint(more)); ok {
		t.Error("it is trusted")
	}
}
