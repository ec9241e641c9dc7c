//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// attachedSession is what takes signals and sizes.
type attachedSession interface {
	Resize(width, height int) error
	Signal(number int) error
}

// linuxNumber are signals by the numbers of Linux, which is what runs in the instance whatever this system is.
var linuxNumber = map[os.Signal]int{
	syscall.SIGHUP: 1, syscall.SIGINT: 2, syscall.SIGQUIT: 3, syscall.SIGABRT: 6, syscall.SIGUSR1: 10, syscall.SIGUSR2: 12,
	syscall.SIGALRM: 14, syscall.SIGTERM: 15, syscall.SIGCONT: 18,
}

// forwardSignals passes signals of this process, and sizes of its terminal, on to the command.
func forwardSignals(s attachedSession, interactive bool, size func() (int, int, error)) (stop func()) {
	ch := make(chan os.Signal, 10)
	wanted := []os.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT}
	if interactive {
		wanted = append(wanted, syscall.SIGWINCH)
	}
	signal.Notify(ch, wanted...)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case sig := <-ch:
				if sig == syscall.SIGWINCH {
					if w, h, err := size(); err == nil {
						_ = s.Resize(w, h)
					}
					continue
				}
				_ = s.Signal(linuxNumber[sig])
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}
