package operation

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// TestEndedOperationsHoldNothing guards the daemon's memory after a burst: an operation that can still be asked for holds
// neither what its task used nor the request that started it.
func TestEndedOperationsHoldNothing(t *testing.T) {
	m := NewManager(nil)
	defer func() { _ = m.Shutdown(t.Context()) }()
	freed := make(chan string, 2)
	start := func() *Operation {
		used, asked := new([1 << 16]byte), new([1 << 16]byte)
		runtime.AddCleanup(used, func(name string) { freed <- name }, "what the task used")
		runtime.AddCleanup(asked, func(name string) { freed <- name }, "the request")
		type key struct{}
		o, err := m.Start(context.WithValue(t.Context(), key{}, asked), "default", &Task{Run: func(context.Context, Progress) error {
			used[0] = 1
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := start()
	if err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	deadline, again := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer again.Stop()
	for left := 2; left > 0; {
		runtime.GC() // the goroutine of the operation may not have returned yet
		select {
		case <-freed:
			left--
		case <-again.C:
		case <-deadline:
			t.Fatal("an operation that has ended holds on to what it was started with")
		}
	}
	if _, err := m.Get(o.ID()); err != nil {
		t.Error(err)
	}
}
