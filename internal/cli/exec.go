package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

type execCmd struct {
	c                                    *App
	mode, cwd                            string
	env                                  []string
	user, group                          uint32
	noStdin, interactive, nonInteractive bool
}

func (c *App) execCommand() *cobra.Command {
	e := &execCmd{c: c}
	cmd := &cobra.Command{
		Use: usage("exec", "[<remote>:]<instance> [flags] [--] <command line>"), Annotations: map[string]string{wantedState: onlyRunning},
		Short: T("Run a command in an instance"),
		Long: paragraphs(T(`The command is run as it is: there is no shell, so variables, patterns and redirections mean nothing. Where they are
needed, run a shell:`), `  berth exec web -- sh -c 'ls /etc | wc -l'`, T("When this client reads from a terminal and writes to one, so does the command.")),
		DisableFlagsInUseLine: true,
		RunE:                  e.run,
	}
	f := cmd.Flags()
	// Parsing stops at the instance's name; run goes on from there up to the command.
	f.SetInterspersed(false)
	f.StringArrayVar(&e.env, "env", nil, T("NAME=value for the environment of the command; may be repeated")+"``")
	f.StringVar(&e.mode, "mode", "auto", T("Whether it gets a terminal: auto, interactive or non-interactive")+"``")
	f.BoolVarP(&e.interactive, "force-interactive", "t", false, T("Give the command a terminal, whatever stdin and stdout are"))
	f.BoolVarP(&e.nonInteractive, "force-noninteractive", "T", false, T("Give the command no terminal"))
	f.BoolVarP(&e.noStdin, "disable-stdin", "n", false, T("Give the command an empty stdin"))
	f.Uint32Var(&e.user, "user", 0, T("ID of the user that runs the command (default 0)")+"``")
	f.Uint32Var(&e.group, "group", 0, T("ID of the group that runs the command (default 0)")+"``")
	f.StringVar(&e.cwd, "cwd", "", T("Folder inside in which it starts (default /root)")+"``")
	return cmd
}

func (e *execCmd) run(cmd *cobra.Command, args []string) error {
	if len(args) > 1 && cmd.ArgsLenAtDash() != 0 {
		command, done, err := e.flagsBehindName(cmd, args[1:])
		if done || err != nil {
			return err
		}
		args = append(args[:1:1], command...)
	}
	if done, err := checkArgs(cmd, args, 2, -1); done {
		return err
	}
	if e.interactive && e.nonInteractive {
		return errors.New(T("You can't pass -t and -T at the same time"))
	}
	if e.mode != "auto" && (e.interactive || e.nonInteractive) {
		return errors.New(T("You can't pass -t or -T at the same time as --mode"))
	}
	server, name, err := e.c.parse(args[0])
	if err != nil {
		return err
	}
	interactive, err := e.wantsTerminal()
	if err != nil {
		return err
	}
	post := api.InstanceExecPost{
		Command: args[1:], Interactive: interactive, Environment: e.environment(),
		User: e.user, Group: e.group, Cwd: e.cwd,
	}
	streams := client.ExecStreams{Stdin: e.c.In, Stdout: e.c.Out, Stderr: e.c.Err}
	if e.noStdin {
		streams.Stdin = nil
	}
	if interactive {
		if w, h, err := terminalSize(e.c.Out); err == nil {
			post.Width, post.Height = w, h
		}
		restore, err := rawTerminal(streams.Stdin)
		if err != nil {
			return err
		}
		defer restore()
		if isTerminal(streams.Stdin) {
			streams.Stdin = hangup{streams.Stdin}
		}
	}
	code, err := e.attached(server, name, post, streams)
	if code > 0 {
		e.c.ret = code
	}
	return err
}

// flagsBehindName parses the flags between the instance's name and the command, which begins behind "--" or with the first word that
// is no flag: its own flags are not ours. But for a last --verbose or --debug without any "--": scripts that were written for lxc add it to
// every call. done means that they asked for help or the version, which was given.
func (e *execCmd) flagsBehindName(cmd *cobra.Command, args []string) (command []string, done bool, err error) {
	f := cmd.Flags()
	if last := len(args) - 1; last > 0 && (args[last] == "--verbose" || args[last] == "--debug") && !slices.Contains(args, "--") {
		if err := f.Set(args[last][2:], "true"); err != nil {
			return nil, false, err
		}
		args = args[:last]
	}
	if err := f.Parse(args); err != nil {
		return nil, false, err
	}
	if help, err := f.GetBool("help"); err == nil && help {
		return nil, true, cmd.Help()
	}
	return f.Args(), false, e.c.preRun(cmd, nil)
}

// hangup reads a raw terminal: its end, which no key makes, is that it went away.
type hangup struct{ io.Reader }

func (h hangup) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// attached runs the command and passes signals and sizes on to it.
func (e *execCmd) attached(server *client.Client, name string, post api.InstanceExecPost, streams client.ExecStreams) (int, error) {
	session, err := server.Exec(name, post, streams)
	if err != nil {
		return 0, err
	}
	stop := forwardSignals(session, post.Interactive, func() (int, int, error) { return terminalSize(e.c.Out) })
	defer stop()
	return session.Wait(background())
}

func (e *execCmd) wantsTerminal() (bool, error) {
	switch {
	case e.interactive || e.mode == "interactive":
		return true, nil
	case e.nonInteractive || e.mode == "non-interactive":
		return false, nil
	case e.mode == "auto":
		return isTerminal(e.c.In) && isTerminal(e.c.Out) && !e.noStdin, nil
	}
	return false, fmt.Errorf(T("Unknown terminal mode %q"), e.mode)
}

func (e *execCmd) environment() map[string]string {
	env := map[string]string{}
	if v, ok := os.LookupEnv("TERM"); ok {
		env["TERM"] = v
	}
	for _, pair := range e.env {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	return env
}

func terminalSize(w io.Writer) (width, height int, err error) {
	f := fileOf(w)
	if f == nil {
		return 0, 0, errors.New("not a terminal")
	}
	return term.GetSize(int(f.Fd()))
}

// rawTerminal passes every key on until restore is called. Without a terminal it does nothing.
func rawTerminal(in io.Reader) (restore func(), err error) {
	f := fileOf(in)
	if !isTerminal(f) {
		return func() {}, nil
	}
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return func() { _ = term.Restore(int(f.Fd()), state) }, nil
}
