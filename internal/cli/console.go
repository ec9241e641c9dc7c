package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) consoleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("console", "[<remote>:]<instance>"), Annotations: map[string]string{wantedState: onlyRunning},
		Short: T("Connect this terminal to the console of an instance"),
		Long:  T("Shows what the instance prints while it boots, and takes a login; or its log with --show-log."),
	}
	showLog := cmd.Flags().Bool("show-log", false, T("Print what the console has shown so far, and end"))
	kind := cmd.Flags().StringP("type", "t", "console", T("Which console: console (text) or vga (the screen of a virtual machine)")+"``")
	cmd.RunE = takes(1, 1, func(args []string) error {
		if !*showLog {
			return c.attachConsole(args[0], *kind)
		}
		if *kind != "console" {
			return errors.New(T("--show-log is for the type console: another has no log"))
		}
		server, name, err := c.parse(args[0])
		if err != nil {
			return err
		}
		log, err := server.ConsoleLog(name)
		if err != nil {
			return err
		}
		defer log.Close()
		fmt.Fprintln(c.Out, "\n"+T("Console log:")+"\n")
		if _, err := io.Copy(c.Out, log); err != nil {
			return err
		}
		fmt.Fprintln(c.Out)
		return nil
	})
	return cmd
}

// attachConsole connects this terminal to an instance's console until ctrl+a q.
func (c *App) attachConsole(target, kind string) error {
	if err := checkConsoleType(kind); err != nil {
		return err
	}
	server, name, err := c.parse(target)
	if err != nil {
		return err
	}
	session, err := c.openConsole(server, name, kind, c.In)
	if err != nil {
		return err
	}
	return session.wait()
}

func checkConsoleType(kind string) error {
	switch kind {
	case "console":
		return nil
	case "vga":
		return errors.New(T("Graphical consoles are for virtual machines, which this server doesn't have"))
	}
	return fmt.Errorf(T("Unknown output type %q"), kind)
}

// attachedConsole is a console that this terminal is connected to.
type attachedConsole struct {
	*client.ConsoleSession
	detach  chan struct{} // closed when ctrl+a q was typed
	restore func()        // the terminal, as it was
}

// openConsole connects in and this client's output to a console. Where that is no terminal, the console keeps its size.
func (c *App) openConsole(server *client.Client, name, kind string, in io.Reader) (*attachedConsole, error) {
	post := api.InstanceConsolePost{Type: kind}
	size := func() (int, int, error) { return terminalSize(c.Out) }
	if w, h, err := size(); err == nil {
		post.Width, post.Height = w, h
	}
	restore, err := rawTerminal(in)
	if err != nil {
		return nil, err
	}
	detach := make(chan struct{})
	session, err := server.Console(name, post, &escapeReader{r: in, found: detach}, c.Out)
	if err != nil {
		restore()
		return nil, err
	}
	fmt.Fprint(c.Out, T("To detach from the console, press: <ctrl>+a q")+"\n\r")
	stop := forwardSignals(consoleSignals{session}, true, size)
	return &attachedConsole{session, detach, func() { stop(); restore() }}, nil
}

// wait waits until the console ends or is left.
func (a *attachedConsole) wait() error {
	defer a.restore()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-a.detach:
			a.Detach()
		case <-ended:
		}
	}()
	return a.Wait(background())
}

// consoleSignals resizes a console, which takes no signals.
type consoleSignals struct{ *client.ConsoleSession }

func (consoleSignals) Signal(int) error { return nil }

// escapeReader ends at ctrl+a q.
type escapeReader struct {
	r     io.Reader
	found chan struct{}
	armed bool
	ended bool
}

func (e *escapeReader) Read(p []byte) (int, error) {
	if e.ended {
		return 0, io.EOF
	}
	n, err := e.r.Read(p)
	for i := 0; i < n; i++ {
		switch {
		case p[i] == 0x01:
			e.armed = true
		case e.armed && p[i] == 'q':
			e.ended = true
			close(e.found)
			return i, io.EOF
		default:
			e.armed = false
		}
	}
	return n, err
}
