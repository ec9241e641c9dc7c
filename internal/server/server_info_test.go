package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/store"
)

// infoServer serves /1.0 of a machine with the name that name points to.
func infoServer(t testing.TB, name *string) (*Server, *serverconfig.Service) {
	t.Helper()
	db := store.New(store.NewMemory())
	config := serverconfig.New(db, event.NewHub())
	if err := db.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	features := map[string]string{"idmapped_mounts": "true"}
	return New(Services{Config: config, Environment: func(project string) api.ServerEnvironment {
		return api.ServerEnvironment{Addresses: []string{}, Project: project, ServerName: *name, KernelFeatures: features}
	}}, root), config
}

func TestServerInfoIsNeverOld(t *testing.T) {
	name := "one"
	s, config := infoServer(t, &name)
	seen := map[string]bool{}
	look := func() {
		t.Helper()
		_, header, answer := call(t, s, "GET", "/1.0", "")
		all := header.Get("Etag") + string(answer.Metadata)
		if seen[all] {
			t.Fatalf("an old answer: %s", all)
		}
		seen[all] = true
		if _, _, again := call(t, s, "GET", "/1.0", ""); string(again.Metadata) != string(answer.Metadata) {
			t.Fatalf("%s, then %s", answer.Metadata, again.Metadata)
		}
	}
	look()
	name = "two"
	look()
	if err := config.Merge(context.Background(), map[string]any{"user.x": "y"}, func(store.Revision) error { return nil }); err != nil {
		t.Fatal(err)
	}
	look()
	_, _, other := call(t, s, "GET", "/1.0?project=other", "")
	if seen[string(other.Metadata)] {
		t.Fatalf("the answer for another project: %s", other.Metadata)
	}
}

// discard is a ResponseWriter that allocates nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// TestServerInfoIsCheap guards what every client begins with: it is encoded once, not at each request.
func TestServerInfoIsCheap(t *testing.T) {
	name := "one"
	s, _ := infoServer(t, &name)
	r, w := httptest.NewRequest("GET", "/1.0", nil), discard{http.Header{}}
	const most = 20
	if n := testing.AllocsPerRun(100, func() { s.ServeHTTP(w, r) }); n > most {
		t.Errorf("GET /1.0 takes %v allocations, %d at most are allowed", n, most)
	}
}
