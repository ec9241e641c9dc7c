package image

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fetch"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// wary is a shop that notes by what policy it was asked.
type wary struct {
	shop
	mu    sync.Mutex
	asked []bool // private addresses were allowed
}

func (w *wary) note(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, fetch.PolicyFrom(ctx).Private)
}

func (w *wary) Describe(ctx context.Context, src api.ImagesPostSource) (*api.Image, error) {
	w.note(ctx)
	return w.shop.Describe(ctx, src)
}

func (w *wary) Export(ctx context.Context, src api.ImagesPostSource, fingerprint string) (io.ReadCloser, string, error) {
	w.note(ctx)
	return w.shop.Export(ctx, src, fingerprint)
}

// since are the policies of what it was asked since then.
func (w *wary) since() []bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

func (w *wary) next(t *testing.T, name string) {
	w.sell(unified(t, file{name: "rootfs/new", data: name}))
}

func policed(t *testing.T) (*Service, *wary) {
	t.Helper()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	far := &wary{shop: shop{data: unified(t)}}
	s.Remote = far
	return s, far
}

var (
	administrator = fetch.WithPolicy(request.WithCaller(context.Background(), request.Caller{Protocol: "unix"}), fetch.Policy{Private: true})
	tenant        = fetch.WithPolicy(request.WithCaller(context.Background(), request.Caller{Protocol: "tls"}), fetch.Policy{})
	// itself is the daemon that updates images.
	itself = fetch.WithPolicy(context.Background(), fetch.Policy{Private: true})
)

// TestAnImageIsUpdatedByThePolicyOfWhoeverNamedItsSource, time and again, whoever asks for it in between.
func TestAnImageIsUpdatedByThePolicyOfWhoeverNamedItsSource(t *testing.T) {
	both := func(private bool) []bool { return []bool{private, private} } // it is described, and fetched
	for name, c := range map[string]struct {
		by      context.Context
		private bool
	}{"an administrator": {administrator, true}, "a tenant": {tenant, false}} {
		t.Run(name, func(t *testing.T) {
			s, far := policed(t)
			if _, err := s.Resolve(c.by, "default", api.InstanceSource{Server: "https://far", Alias: "web"}); err != nil {
				t.Fatal(err)
			}
			if got := far.since(); !slices.Equal(got, both(c.private)) {
				t.Errorf("it was fetched by %v", got)
			}
			for _, row := range s.images.List() {
				next := *row.Value
				next.AutoUpdate = true
				if _, err := s.Store.Commit(t.Context(), s.images.Replace(row, &next)); err != nil {
					t.Fatal(err)
				}
			}
			for _, step := range []struct {
				who     string
				ctx     context.Context
				private bool
			}{{"the daemon", itself, c.private}, {"a tenant", tenant, false}, {"an administrator", administrator, c.private}, {"the daemon again", itself, c.private}} {
				far.next(t, step.who)
				if step.ctx == itself {
					s.updateAll(step.ctx, "default")
				} else if err := refreshed(s, step.ctx, s.Fingerprints("default")[0]); err != nil {
					t.Fatal(err)
				}
				if got := far.since(); !slices.Equal(got, both(step.private)) {
					t.Errorf("%s: it was updated by %v", step.who, got)
				}
			}
		})
	}
}

// TestWhatAnEarlierDaemonFetchedIsUpdated as before in the default project, and from public addresses in others.
func TestWhatAnEarlierDaemonFetchedIsUpdated(t *testing.T) {
	for project, private := range map[string]bool{"default": true, "blue": false} {
		s, far := policed(t)
		src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: "https://far", Alias: "web"}}
		fingerprint, err := s.pull(administrator, operation.NoProgress{}, src, Request{Project: project, AutoUpdate: true})
		if err != nil {
			t.Fatal(err)
		}
		row, _ := s.images.Get(project, fingerprint)
		old := *row.Value
		old.Policy = nil
		if _, err := s.Store.Commit(t.Context(), s.images.Replace(row, &old)); err != nil {
			t.Fatal(err)
		}
		far.since()
		far.next(t, "new")
		s.updateAll(itself, project)
		if got := far.since(); !slices.Equal(got, []bool{private, private}) {
			t.Errorf("%s: it was updated by %v", project, got)
		}
	}
}

// TestAServerWithAnotherCertificateIsAnother: what came from one of them is not what the other has, though they have one address.
func TestAServerWithAnotherCertificateIsAnother(t *testing.T) {
	s, far := policed(t)
	image := func(certificate string) string {
		t.Helper()
		img, err := s.Resolve(tenant, "default", api.InstanceSource{Server: "https://far", Alias: "web", Certificate: certificate})
		if err != nil {
			t.Fatal(err)
		}
		return img.Fingerprint
	}
	first := image("one")
	far.next(t, "theirs")
	second := image("")
	if first == second {
		t.Error("whoever trusts the authorities got what a certificate of somebody's own brought")
	}
	if again := image("one\n"); again != first {
		t.Error("what was cached is fetched again")
	}
	if len(s.Fingerprints("default")) != 2 {
		t.Error("one of them took the place of the other")
	}
}
