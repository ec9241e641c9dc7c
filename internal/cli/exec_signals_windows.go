package cli

import (
	"os"
	"os/signal"
)

// attachedSession is what takes signals and sizes.
type attachedSession interface {
	Resize(width, height int) error
	Signal(number int) error
}

// forwardSignals passes Ctrl-C on to the command: Windows has no other signal.
func forwardSignals(s attachedSession, _ bool, _ func() (int, int, error)) (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-ch:
				_ = s.Signal(2)
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}
