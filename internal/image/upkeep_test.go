package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// shop is a server that has one image at a time.
type shop struct {
	mu     sync.Mutex // upkeep fetches beside the test that changes the image
	data   []byte
	during func() // happens while somebody fetches it
}

// sell puts another image on offer under every alias.
func (r *shop) sell(data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data = data
}

func (r *shop) offer() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.data
}

func (r *shop) fingerprint() string {
	sum := sha256.Sum256(r.offer())
	return hex.EncodeToString(sum[:])
}

func (r *shop) Describe(context.Context, api.ImagesPostSource) (*api.Image, error) {
	if r.offer() == nil {
		return nil, errors.New("closed")
	}
	return &api.Image{Fingerprint: r.fingerprint(), Size: int64(len(r.offer()))}, nil
}

func (r *shop) Export(context.Context, api.ImagesPostSource, string) (io.ReadCloser, string, error) {
	if r.during != nil {
		r.during()
	}
	return io.NopCloser(bytes.NewReader(r.offer())), "application/octet-stream", nil
}

func (r *shop) Direct(context.Context, string, []string) (io.ReadCloser, string, int64, error) {
	return io.NopCloser(bytes.NewReader(r.offer())), r.fingerprint(), -1, nil
}

func TestCachedImagesAreUpdatedAndDropped(t *testing.T) {
	ctx := context.Background()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	far := &shop{data: unified(t)}
	settings := map[string]string{"images.remote_cache_expiry": "10", "images.auto_update_cached": "true"}
	s.Remote, s.Setting = far, func(_, key string) string { return settings[key] }
	src := api.InstanceSource{Server: "https://far", Alias: "web"}
	first, err := s.Resolve(ctx, "default", src)
	if err != nil || !first.Cached || !first.AutoUpdate {
		t.Fatalf("%+v %v", first, err)
	}
	if _, err := importFile(t, s, unified(t, file{name: "rootfs/own", data: "x"}), Request{}); err != nil {
		t.Fatal(err)
	}

	far.sell(unified(t, file{name: "rootfs/new", data: "y"}))
	s.updateAll(ctx, "default")
	if _, _, err := s.Get(ctx, "default", first.Fingerprint); !api.IsNotFound(err) {
		t.Errorf("the old image is still there: %v", err)
	}
	second, _, err := s.Get(ctx, "default", far.fingerprint())
	if err != nil || !second.Cached {
		t.Fatalf("%+v %v", second, err)
	}
	far.sell(nil)
	s.updateAll(ctx, "default") // a server that is away costs nothing

	now := time.Now()
	s.dropUnused(ctx, now.AddDate(0, 0, 9))
	if n := len(s.List(ctx, "default", false)); n != 2 {
		t.Errorf("%d images after nine days", n)
	}
	settings["images.remote_cache_expiry"] = "0"
	s.dropUnused(ctx, now.AddDate(1, 0, 0))
	if n := len(s.List(ctx, "default", false)); n != 2 {
		t.Errorf("%d images after a year without expiry", n)
	}
	settings["images.remote_cache_expiry"] = "10"
	s.dropUnused(ctx, now.AddDate(0, 0, 11))
	if list := s.List(ctx, "default", false); len(list) != 1 || list[0].Cached {
		t.Errorf("after eleven days: %v", list)
	}
}

// stalled is a server that answers nobody who asks for what is there now, and counts who asks.
type stalled struct {
	shop
	on    bool
	asked atomic.Int32
}

func (r *stalled) Describe(ctx context.Context, src api.ImagesPostSource) (*api.Image, error) {
	if !r.on {
		return r.shop.Describe(ctx, src)
	}
	r.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestUpkeepGoesOnPastASlowServer: the next image has its turn, and what nobody uses goes meanwhile.
func TestUpkeepGoesOnPastASlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s, _ := newService(t, store.NewMemory(), t.TempDir())
		defer func() { _ = s.Store.Close() }()
		far := &stalled{}
		settings := map[string]string{"images.auto_update_cached": "true", "images.auto_update_interval": "6", "images.remote_cache_expiry": "1"}
		s.Remote, s.Setting = far, func(_, key string) string { return settings[key] }
		for _, name := range []string{"a", "b"} {
			far.sell(unified(t, file{name: "rootfs/" + name, data: name}))
			if _, err := s.Resolve(ctx, "default", api.InstanceSource{Server: "https://far", Alias: name}); err != nil {
				t.Fatal(err)
			}
		}
		far.on = true
		var upkeep sync.WaitGroup
		upkeep.Go(func() { s.Upkeep(ctx) })
		time.Sleep(updateTime + time.Minute)
		if n := far.asked.Load(); n != 2 {
			t.Errorf("the server was asked for %d images of 2", n)
		}
		time.Sleep(24 * time.Hour)
		if n := len(s.List(ctx, "default", false)); n != 0 {
			t.Errorf("%d images that nobody uses are left", n)
		}
		cancel()
		upkeep.Wait()
	})
}

func TestAnImageFromAWebServer(t *testing.T) {
	ctx := context.Background()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	far := &shop{data: unified(t)}
	s.Remote = far
	task, err := s.PullURL("https://far/image", Request{Project: "default", Aliases: []api.ImageAlias{{Name: "web"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Run(ctx, operation.NoProgress{}); err != nil {
		t.Fatal(err)
	}
	if img, err := s.ByAlias(ctx, "default", "web"); err != nil || img.Fingerprint != far.fingerprint() {
		t.Errorf("%v %v", img, err)
	}
	if _, err := s.PullURL("", Request{}); api.StatusOf(err) != 400 {
		t.Error(err)
	}
}

func TestPropertiesPreferTheDefaultArchitecture(t *testing.T) {
	ctx := context.Background()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	arm := regexp.MustCompile(`(?m)^architecture: .*$`).ReplaceAll([]byte(goodMetadata), []byte("architecture: aarch64"))
	var prints []string
	for _, meta := range []string{goodMetadata, string(arm)} {
		r, err := importFile(t, s, tarball(t, file{name: "metadata.yaml", data: meta}, file{name: "rootfs/"}), Request{Properties: map[string]string{"k": "v"}})
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, r.Fingerprint)
	}
	for i, architecture := range []string{"x86_64", "aarch64"} {
		s.Setting = func(string, string) string { return architecture }
		img, err := s.Resolve(ctx, "default", api.InstanceSource{Properties: map[string]string{"k": "v"}})
		if err != nil || img.Fingerprint != prints[i] {
			t.Errorf("%s: %v %v", architecture, img, err)
		}
	}
}

// A date in a time zone behind all others can be one of the year 10000 in UTC, which JSON has no date for.
func TestExtremeDates(t *testing.T) {
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	beyond := time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -12*3600))
	r, err := importFile(t, s, unified(t), Request{ExpiresAt: beyond})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(context.Background(), "default", r.Fingerprint, put(api.ImagePut{ExpiresAt: beyond}), anyRevision); err != nil {
		t.Error(err)
	}
	img, _, err := s.Get(context.Background(), "default", r.Fingerprint)
	if err != nil || img.ExpiresAt.Year() != 9999 {
		t.Errorf("%+v, %v", img, err)
	}
}

// Of images that properties fit, the newest is meant; and what is not public is not there for strangers, nor is its alias.
func TestWhichImageIsMeant(t *testing.T) {
	ctx := context.Background()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	var last string
	for n, date := range []string{"1700000000", "1700000002", "1700000001"} {
		meta := strings.Replace(goodMetadata, "1700000000", date, 1)
		r, err := importFile(t, s, tarball(t, file{name: "metadata.yaml", data: meta}, file{name: "rootfs/"}), Request{Aliases: []api.ImageAlias{{Name: fmt.Sprint("a", n)}}, Public: n == 0})
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			last = r.Fingerprint
		}
	}
	img, err := s.Resolve(ctx, "default", api.InstanceSource{Properties: map[string]string{"os": "debian"}})
	if err != nil || img.Fingerprint != last {
		t.Errorf("%+v, %v, want %s", img, err, last)
	}
	for name, public := range map[string]bool{"a0": true, "a1": false} {
		if _, _, err := s.Alias(ctx, "default", name, true); (err == nil) != public || err != nil && !api.IsNotFound(err) {
			t.Errorf("%s for strangers: %v", name, err)
		}
	}
}

// TestAProjectHasItsOwnSettings: what one project says of its images is no matter to those of another.
func TestAProjectHasItsOwnSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s, _ := newService(t, store.NewMemory(), t.TempDir())
		defer func() { _ = s.Store.Close() }()
		far := &shop{data: unified(t)}
		settings := map[string]string{
			"default images.remote_cache_expiry": "10", "short images.remote_cache_expiry": "1",
			"default images.auto_update_cached": "true", "short images.auto_update_cached": "false",
			"default images.auto_update_interval": "6", "eager images.auto_update_interval": "1", "eager images.auto_update_cached": "true",
		}
		s.Remote, s.Setting = far, func(project, key string) string { return settings[project+" "+key] }
		for _, project := range []string{"default", "short", "eager"} {
			img, err := s.Resolve(ctx, project, api.InstanceSource{Server: "https://far", Alias: "web"})
			if err != nil || img.AutoUpdate != (project != "short") {
				t.Fatalf("%s: %+v %v", project, img, err)
			}
		}
		var upkeep sync.WaitGroup
		upkeep.Go(func() { s.Upkeep(ctx) })
		synctest.Wait()
		far.sell(unified(t, file{name: "rootfs/new", data: "y"}))
		has := func(project string) bool {
			_, _, err := s.Get(ctx, project, far.fingerprint())
			return err == nil
		}
		for _, tt := range []struct {
			after        time.Duration
			eager, other bool
		}{{90 * time.Minute, true, false}, {6 * time.Hour, true, true}} {
			time.Sleep(tt.after)
			synctest.Wait()
			if has("eager") != tt.eager || has("default") != tt.other || has("short") {
				t.Errorf("after %s more: eager %v, default %v, short %v", tt.after, has("eager"), has("default"), has("short"))
			}
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if n, m := len(s.List(ctx, "short", false)), len(s.List(ctx, "default", false)); n != 0 || m != 1 {
			t.Errorf("after two days short has %d images and default %d", n, m)
		}
		cancel()
		upkeep.Wait()
	})
}
