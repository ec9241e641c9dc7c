package storage

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/dir"
)

// hanging is a driver whose Mount hangs as in the kernel, whatever becomes of its context, until it is released.
type hanging struct {
	storagedriver.Driver
	begun   chan struct{}
	release chan struct{}
	ended   chan struct{} // receives a value when Mount has returned
}

func (h *hanging) Mount(context.Context) error {
	h.begun <- struct{}{}
	defer func() { h.ended <- struct{}{} }()
	<-h.release
	return h.Driver.Mount(context.Background())
}

// withHangingPool is a world with a usable pool, p, and one, "hung", that was usable and whose driver hangs since a restart.
func withHangingPool(t *testing.T) (*world, *hanging) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.pool("hung", nil))
	h := &hanging{begun: make(chan struct{}, 1), release: make(chan struct{}), ended: make(chan struct{}, 9)}
	w.build()
	w.service.patience = 50 * time.Millisecond
	w.service.Drivers = map[string]Open{"dir": func(c storagedriver.Config) storagedriver.Driver {
		d := dir.New(c)
		if c.Options["source"] == w.root+"/storage-pools/hung" {
			h.Driver = d
			return h
		}
		return d
	}}
	w.ok(w.service.Store.Load(w.ctx))
	return w, h
}

func (w *world) statusOfPool(name string) string {
	pool, _, err := w.service.Pool(name)
	w.ok(err)
	return pool.Status
}

func TestAPoolThatHangsInMountIsInNobodyElsesWay(t *testing.T) {
	w, h := withHangingPool(t)
	began := time.Now()
	w.ok(w.service.Start(w.ctx))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the start waited %s for one pool", took)
	}
	<-h.begun
	const message = `Storage pool "hung" unavailable: still being mounted`
	w.fails(w.service.CheckPool("hung"), http.StatusServiceUnavailable, message)
	_, err := w.service.Resources(w.ctx, "hung")
	w.fails(err, http.StatusServiceUnavailable, message)
	w.fails(w.service.DeletePool(w.ctx, "hung"), http.StatusServiceUnavailable, message)
	if w.journal.Pending() != 0 {
		t.Error("the deletion that was refused has left an entry in the journal")
	}
	if status := w.statusOfPool("hung"); status != "Unavailable" {
		t.Errorf("the pool is shown as %s", status)
	}

	// The other one, and what is read without a pool, go on.
	w.ok(w.service.CheckPool("p"))
	if status := w.statusOfPool("p"); status != "Created" {
		t.Errorf("the other pool is shown as %s", status)
	}
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"}))
	if w.service.Path(VolumeID{Pool: "hung", Project: "default", Type: VolumeContainer, Name: "c"}) == "" {
		t.Error("the path in a pool that hangs is unknown")
	}

	close(h.release)
	w.service.patience = time.Minute
	w.ok(w.service.CheckPool("hung"))
	if status := w.statusOfPool("hung"); status != "Created" {
		t.Errorf("once it is mounted the pool is shown as %s", status)
	}
	w.ok(w.service.DeletePool(w.ctx, "hung"))
}

func TestTheWaitForAPoolEndsWithItsCaller(t *testing.T) {
	w, h := withHangingPool(t)
	w.service.patience = time.Minute
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := w.service.Usage(ctx, VolumeID{Pool: "hung", Project: "default", Type: VolumeContainer, Name: "c"})
		ended <- err
	}()
	<-h.begun
	cancel()
	select {
	case err := <-ended:
		if err != context.Canceled {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a caller that has gone still waits for the pool")
	}
	began := time.Now()
	w.service.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing waited %s for a pool that hangs", took)
	}
	close(h.release)
	<-h.ended // it writes to the test's folder
}

// failing is a driver whose Mount fails until it is mended.
type failing struct {
	storagedriver.Driver
	mended *bool
}

func (f failing) Mount(ctx context.Context) error {
	if !*f.mended {
		return errors.New("no such device")
	}
	return f.Driver.Mount(ctx)
}

// TestAPoolThatCouldNotBeMountedIsTriedAgain each time when somebody uses it, and its error is that of the last time.
func TestAPoolThatCouldNotBeMountedIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.build()
	mended := false
	w.service.Drivers = map[string]Open{"dir": func(c storagedriver.Config) storagedriver.Driver { return failing{dir.New(c), &mended} }}
	w.ok(w.service.Store.Load(w.ctx))
	w.ok(w.service.Start(w.ctx))
	for range 2 {
		w.fails(w.service.CheckPool("p"), http.StatusServiceUnavailable, `Storage pool "p" unavailable: no such device`)
		if status := w.statusOfPool("p"); status != "Unavailable" {
			t.Errorf("the pool is shown as %s", status)
		}
	}
	mended = true
	w.ok(w.service.CheckPool("p"))
	if status := w.statusOfPool("p"); status != "Created" {
		t.Errorf("once it is mounted the pool is shown as %s", status)
	}
	w.ok(w.service.DeletePool(w.ctx, "p"))
}
