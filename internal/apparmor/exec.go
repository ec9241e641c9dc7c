package apparmor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
)

// Start starts a command that becomes confined by a profile as it is executed: aa_change_onexec(2). profile is what Load
// returned; where that is "" the command is confined as this process is. The command must not ask for a signal at the end of its
// parent's thread (Pdeathsig): the thread ends here.
func Start(cmd *exec.Cmd, profile string) error {
	if profile == "" {
		return cmd.Start()
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread cannot undo aa_change_onexec, so nothing else may run on it.
		runtime.LockOSThread()
		err := OnExec(profile)
		if err == nil {
			err = cmd.Start()
		}
		done <- err
	}()
	return <-done
}

// OnExec has the calling thread confined by a profile when it executes a program, or a child that it forks does. The goroutine must be
// locked to its thread, and stay so.
func OnExec(profile string) error {
	err := os.WriteFile("/proc/thread-self/attr/apparmor/exec", []byte("exec "+profile), 0)
	if errors.Is(err, fs.ErrNotExist) { // before Linux 4.20
		err = os.WriteFile("/proc/thread-self/attr/exec", []byte("exec "+profile), 0)
	}
	if err != nil {
		return fmt.Errorf("AppArmor profile %s cannot be entered: %w", profile, err)
	}
	return nil
}
