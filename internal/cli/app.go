// Package cli is the command line berth: one file per verb, each turning arguments into calls of package client.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/cliconf"
	"github.com/berthd/berth/internal/initcmd"
	"github.com/berthd/berth/internal/version"
)

// App is one run of the command line.
type App struct {
	In       io.Reader
	Out, Err io.Writer

	conf    *cliconf.Conf
	clients map[string]*client.Client
	ret     int // exit code of a command that ran in an instance

	flagProject    string
	flagForceLocal bool
	flagVerbose    bool
	flagDebug      bool
	flagQuiet      bool
	flagVersion    bool
	flagHelpAll    bool
	flagAll        bool
}

// New makes an App on the process's own streams.
func New() *App {
	return &App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}

// Run runs the command line (without the program's name) and returns the exit code.
func (c *App) Run(args []string) int {
	c.Out = checked(c.Out)
	return c.report(c.run(args))
}

func (c *App) run(args []string) error {
	dir, err := cliconf.Dir()
	if err == nil {
		c.conf, err = cliconf.Load(dir)
	}
	if err != nil {
		return err
	}
	if c.clients == nil {
		c.clients = map[string]*client.Client{}
	}
	root := c.rootCommand()
	if args, err = expandAlias(c.conf.Aliases, root, args); err != nil {
		return err
	}
	root.SetArgs(args)
	if len(args) > 0 && slices.Contains([]string{cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd, "completion"}, args[0]) {
		root.SetOut(c.Out) // cobra writes these itself
	}
	return root.Execute()
}

// ask reads one line of an answer to a question.
func (c *App) ask(question string) (string, error) {
	fmt.Fprint(c.Out, question)
	return c.readLine()
}

// readLine reads one line of standard input.
func (c *App) readLine() (string, error) { return initcmd.ReadLine(c.In) }

func isTerminal(stream any) bool {
	f := fileOf(stream)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// interrupts runs fn for each Ctrl-C until stop is called.
func interrupts(fn func(count int)) (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt)
	done := make(chan struct{})
	go func() {
		for count := 1; ; count++ {
			select {
			case <-ch:
				fn(count)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}

// background is the context of work that only its own end stops.
func background() context.Context { return context.Background() }

func userAgent() string { return "Berth " + version.Version }
