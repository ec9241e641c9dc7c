package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// checkConsole refuses a console that cannot be shown, before anything is done.
func (a *action) checkConsole() error {
	if a.console == "" {
		return nil
	}
	if a.force && a.request == "stop" {
		return errors.New(T("--console can't be used while forcing instance shutdown")) // as lxc says it
	}
	return checkConsoleType(a.console)
}

// watched stops an instance that this terminal shows the console of. The console is asked for first, so that as little as can be is missed.
// Leaving the console does not end the stop, which is waited for as without a console.
func (a *action) watched(target string) error {
	server, name, err := a.c.parse(target)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(background())
	defer cancel()
	in := a.c.In
	if !isTerminal(in) {
		in = silence{ctx} // the end of its input would end the console
	}
	session, err := a.c.openConsole(server, name, a.console, in)
	if err != nil {
		return err
	}
	stopped := make(chan error, 1)
	go func() {
		err := a.one(target)
		if err != nil {
			session.Detach() // the instance runs on, and its console with it
		}
		stopped <- err
	}()
	shown := session.wait()
	err = <-stopped
	if err == nil && shown != nil {
		fmt.Fprintf(a.c.Err, T("The console was not shown: %v")+"\n", shown)
	}
	return err
}

// silence is an input on which nobody types.
type silence struct{ ctx context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, io.EOF
}
