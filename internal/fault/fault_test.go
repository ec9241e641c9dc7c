package fault

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

var (
	quiet = New("test.quiet")
	fails = New("test.fails")
	full  = New("test.full")
	kills = New("test.kills")
	once  = New("test.once")
)

// TestHit runs itself with points armed, for they are armed when a process starts.
func TestHit(t *testing.T) {
	if os.Getenv("FAULT_CHILD") != "" {
		child()
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=TestHit$")
	cmd.Env = append(os.Environ(), "FAULT_CHILD=1", Env+"=test.fails=error,test.full=enospc,test.kills=kill,test.once=error@2")
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the process ended with %v", err)
	}
	if err := errors.Join(quiet.Hit(), fails.Hit()); err != nil {
		t.Errorf("points that nobody armed: %v", err)
	}
	if !slices.Contains(Names(), "test.kills") || !slices.IsSorted(Names()) {
		t.Errorf("names %v", Names())
	}
}

func child() {
	switch {
	case quiet.Hit() != nil:
		os.Exit(2)
	case !errors.Is(fails.Hit(), ErrInjected):
		os.Exit(3)
	case !errors.Is(full.Hit(), syscall.ENOSPC) || !errors.Is(full.Hit(), ErrInjected):
		os.Exit(4)
	case once.Hit() != nil || once.Hit() == nil || once.Hit() != nil:
		os.Exit(6)
	}
	_ = kills.Hit()
	os.Exit(5)
}
