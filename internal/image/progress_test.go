package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// shown keeps what clients are shown of one key of an operation.
type shown struct {
	mu  sync.Mutex
	key string
	all []string
}

func (s *shown) Update(metadata map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value, ok := metadata[s.key]; ok {
		s.all = append(s.all, fmt.Sprint(value))
	}
}

// ends fails unless what was shown last begins with want.
func (s *shown) ends(t *testing.T, what, want string) {
	t.Helper()
	if len(s.all) == 0 || !strings.HasPrefix(s.all[len(s.all)-1], want) {
		t.Errorf("%s: shown was %q, want %q in the end", what, s.all, want)
	}
}

// large makes an image of several reads.
func large(t *testing.T) []byte {
	t.Helper()
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte('a' + rand.IntN(26))
	}
	return unified(t, file{name: "rootfs/data", data: string(data)})
}

// sized is a shop whose web server says how long its image is.
type sized struct{ shop }

func (r *sized) Direct(context.Context, string, []string) (io.ReadCloser, string, int64, error) {
	return io.NopCloser(bytes.NewReader(r.offer())), r.fingerprint(), int64(len(r.offer())), nil
}

// TestProgressIsOfTheWhole: whichever way an image comes or goes, what is shown of it ends with all of it.
func TestProgressIsOfTheWhole(t *testing.T) {
	ctx := t.Context()
	far := &sized{shop{data: large(t)}}
	src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: "https://far", Alias: "web"}}
	for what, fetch := range map[string]func(*Service) (*operation.Task, error){
		"from a server": func(s *Service) (*operation.Task, error) { return s.Pull(src, Request{Project: "default"}), nil },
		"from a web server": func(s *Service) (*operation.Task, error) {
			return s.PullURL("https://far/x", Request{Project: "default"})
		},
	} {
		s, _ := newService(t, store.NewMemory(), t.TempDir())
		s.Remote = far
		task, err := fetch(s)
		if err != nil {
			t.Fatal(err)
		}
		p := &shown{key: "download_progress"}
		if err := task.Run(ctx, p); err != nil {
			t.Fatal(err)
		}
		p.ends(t, what, "rootfs: 100% (")
		percent := 0
		out := t.TempDir()
		if err := s.Unpack(ctx, "default", far.fingerprint(), preparedOf(t, s, far.fingerprint()), out, diskspace.New(out, "the pool", 0), func(now int, _ int64) {
			if now < percent {
				t.Errorf("%s: unpacked %d%% after %d%%", what, now, percent)
			}
			percent = now
		}); err != nil {
			t.Fatal(err)
		}
		if percent != 100 {
			t.Errorf("%s: unpacked %d%%", what, percent)
		}
	}
	told := &shown{key: "create_image_from_container_pack_progress"}
	p := &packProgress{w: io.Discard, told: told, start: time.Now()}
	for range 3 {
		if _, err := p.Write(make([]byte, 1_000_000)); err != nil {
			t.Fatal(err)
		}
		p.last = time.Time{} // the next is shown too
	}
	told.ends(t, "packed", "Image pack: 3.00MB (")
	if len(told.all) != 3 {
		t.Errorf("packed: %q", told.all)
	}
}
