package daemon

import (
	"context"
	"testing"
	"time"

	"github.com/berthd/berth/internal/operation"
)

// hang makes everything that the daemon waits for at its end hang: an operation, a part's halt and close, a goroutine.
func hang(t *testing.T, d *Daemon) {
	t.Helper()
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	if _, err := d.ops.Start(context.Background(), "default", &operation.Task{
		Run: func(context.Context, operation.Progress) error { <-forever; return nil },
	}); err != nil {
		t.Fatal(err)
	}
	d.running.Go(func() { <-forever })
	d.parts = append(d.parts, part{
		name: "hanging", halt: func(context.Context) error { <-forever; return nil }, close: func() { <-forever },
	})
}

func TestNothingThatHangsKeepsTheDaemonFromItsEnd(t *testing.T) {
	d, stop := run(t, t.TempDir())
	hang(t, d)
	const limit = 2 * time.Second
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- d.Shutdown(false, limit) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the daemon does not end")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	// The few seconds that each of what hangs is given.
	most := limit + 4*time.Second + 2*haltTime + lastAnswers + 5*partTime
	if took := time.Since(began); took > most {
		t.Errorf("the daemon ended after %s, not %s", took, most)
	}
}

func TestASecondShutdownIsRefused(t *testing.T) {
	d, _ := run(t, t.TempDir())
	release := make(chan struct{})
	if _, err := d.ops.Start(context.Background(), "default", &operation.Task{
		Run: func(context.Context, operation.Progress) error { <-release; return nil },
	}); err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- d.Shutdown(false, time.Minute) }()
	for !d.stopping.Load() {
		<-time.After(time.Millisecond)
	}
	second := make(chan error, 1)
	go func() { second <- d.Shutdown(false, time.Minute) }()
	select {
	case err := <-second:
		if err == nil || err.Error() != "Shutdown already in progress" {
			t.Errorf("the second: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the second waits")
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}
