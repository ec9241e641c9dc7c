package image

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// limitedService is a service whose default project has limits.disk.
func limitedService(t *testing.T, limit string) (*Service, *journal.Journal) {
	t.Helper()
	st, locks := store.New(store.NewMemory()), &lock.Manager{}
	var s *Service
	projects := project.New(project.Deps{
		Store: st, Events: event.Nobody{}, Locks: locks, Contents: func(name string) project.Contents { return project.Contents{Images: s.Size(name)} },
	})
	j := journal.New(st)
	s = New(Deps{Store: st, Journal: j, Locks: locks, Events: event.Nobody{}, Dir: t.TempDir(), Projects: projects})
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if err := projects.EnsureDefault(t.Context()); err != nil {
		t.Fatal(err)
	}
	config := map[string]string{"limits.disk": limit}
	if err := projects.Patch(t.Context(), "default", api.ProjectPut{Config: config}, false, anyRevision); err != nil {
		t.Fatal(err)
	}
	return s, j
}

// counting counts what is read, and calls something when it has come so far.
type counting struct {
	r    io.Reader
	n    int64
	at   int64
	call func()
}

func (c *counting) Read(b []byte) (int, error) {
	if c.call != nil && c.n >= c.at {
		c.call()
		c.call = nil
	}
	n, err := c.r.Read(b[:min(len(b), 32<<10)])
	c.n += int64(n)
	return n, err
}

// big is an image of so many bytes and a few thousand more.
func big(t *testing.T, size int, name string) []byte {
	return unified(t, file{name: "rootfs/" + name, data: strings.Repeat("x", size)})
}

// TestAnUploadEndsAtItsProjectsLimit: no more of it comes than the project may have beside what it has and what else is coming, whatever way it comes.
func TestAnUploadEndsAtItsProjectsLimit(t *testing.T) {
	const mib = 1 << 20
	s, j := limitedService(t, "10MiB")
	first, err := importFile(t, s, big(t, 4*mib, "first"), Request{})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error, body *counting, most int64) {
		t.Helper()
		if api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "limits.disk") || body.n > most {
			t.Errorf("%s: %v, after %d bytes", what, err, body.n)
		}
	}
	body := &counting{r: io.LimitReader(endless{}, 1<<30)}
	_, err = s.ReceiveFile(t.Context(), "default", body)
	refused("an upload", err, body, 6*mib)

	beside := &counting{r: io.LimitReader(endless{}, 1<<30)}
	body = &counting{r: bytes.NewReader(big(t, 5*mib, "second")), at: 4 * mib, call: func() {
		_, err := s.ReceiveFile(t.Context(), "default", beside)
		refused("an upload beside another", err, beside, 2*mib+32<<10)
	}}
	second, err := s.ReceiveFile(t.Context(), "default", body)
	if err != nil {
		t.Fatal(err)
	}
	beside.n = 0
	_, err = s.ReceiveFile(t.Context(), "default", beside) // it has come, and waits to become an image
	refused("an upload beside one that has come", err, beside, mib+32<<10)
	if err := second.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}

	far := &shop{data: big(t, 7*mib, "far")}
	s.Remote = far
	src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: "https://far", Alias: "web"}}
	_, err = s.pull(t.Context(), operation.NoProgress{}, src, Request{Project: "default"})
	refused("a fetch", err, &counting{}, 0)
	clean(t, s, j, first.Fingerprint)

	// What takes the place of another image may be as large as that and what is left.
	far.sell(big(t, 5*mib, "old"))
	old, err := s.pull(t.Context(), operation.NoProgress{}, src, Request{Project: "default"})
	if err != nil {
		t.Fatal(err)
	}
	far.sell(big(t, 5*mib+mib/2, "new"))
	if err := refreshed(s, t.Context(), old); err != nil {
		t.Errorf("a refresh: %v", err)
	}
	far.sell(big(t, 7*mib, "newer"))
	refused("a refresh", refreshed(s, t.Context(), far.was(s)), &counting{}, 0)
	if _, err := importFile(t, s, big(t, 100, "small"), Request{}); err != nil {
		t.Errorf("what still fits: %v", err)
	}
	if n := j.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

// was is the image of a project that came from the shop.
func (r *shop) was(s *Service) string {
	for _, row := range s.images.List("default") {
		if row.Value.Source != nil {
			return row.Path[1]
		}
	}
	return ""
}
