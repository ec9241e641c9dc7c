package cli

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// action is a change of power state: start, stop, restart and pause share it.
type action struct {
	c       *App
	verb    string // as the user types it
	request string // as the API names it

	all, force, stateful, stateless bool
	console                         string
	timeout                         int
}

// command makes the cobra command; flags adds what only this verb has.
func (a *action) command(short string, flags func(*cobra.Command)) *cobra.Command {
	cmd := &cobra.Command{
		Use:         usage(a.verb, "[<remote>:]<instance> [[<remote>:]<instance>...]"),
		Short:       short,
		RunE:        a.run,
		Annotations: map[string]string{wantedState: onlyRunning},
	}
	if a.request == "start" {
		cmd.Annotations[wantedState] = onlyStopped
	}
	cmd.Flags().BoolVar(&a.all, "all", false, T("Take all instances of the project"))
	a.timeout = -1
	if flags != nil {
		flags(cmd)
	}
	return cmd
}

// attachOnceStarted is the text of --console for verbs after which an instance runs.
const attachOnceStarted = "Attach to this console once the instance is started: console or vga"

func (a *action) consoleFlag(cmd *cobra.Command, text string) {
	cmd.Flags().StringVar(&a.console, "console", "", text+"``")
	cmd.Flags().Lookup("console").NoOptDefVal = "console"
}

func (a *action) forceFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.force, "force", "f", false, T("Stop at once, without asking the system inside"))
	cmd.Flags().IntVar(&a.timeout, "timeout", -1, T("Seconds to wait for a clean stop before giving up; -1: without end")+"``")
}

func (a *action) run(cmd *cobra.Command, args []string) error {
	if a.all {
		return a.runAll(args)
	}
	if len(args) == 0 {
		return cmd.Usage()
	}
	if a.console != "" && len(args) != 1 {
		return errors.New(T("--console only works with a single instance"))
	}
	if err := a.checkConsole(); err != nil {
		return err
	}
	if a.console != "" && a.request == "stop" {
		return a.watched(args[0])
	}
	failures := a.c.batch(args, a.one)
	switch {
	case len(failures) == 0:
	case len(args) == 1:
		return failures[0].err
	default:
		for _, f := range failures {
			for i, line := range strings.Split(f.err.Error(), "\n") {
				if i == 0 {
					line = T("error") + ": " + line
				}
				fmt.Fprintf(a.c.Err, "%s: %s\n", f.name, line)
			}
		}
		fmt.Fprintln(a.c.Err)
		return fmt.Errorf(T("Some instances failed to %s"), a.verb)
	}
	if a.console != "" {
		return a.c.attachConsole(args[0], a.console)
	}
	return nil
}

// one changes the state of one instance.
func (a *action) one(name string) error {
	server, instance, err := a.c.parse(name)
	if err != nil {
		return err
	}
	if instance == "" {
		return fmt.Errorf(T("Must supply instance name for: %s"), `"`+name+`"`)
	}
	put := a.put()
	if put.Action == "start" {
		current, _, err := server.Instance(instance)
		if err != nil {
			return err
		}
		if current.StatusCode == api.Frozen {
			put.Action = "unfreeze"
		} else {
			put.Stateful = current.Stateful && !a.stateless
		}
	}
	op, err := server.UpdateInstanceState(instance, put, "")
	if err != nil {
		return err
	}
	if err := a.c.waitOp(op, a.c.newProgress("")); err != nil {
		return fmt.Errorf("%w\n"+T("Try `berth info --show-log %s` for more info"), err, name)
	}
	return nil
}

func (a *action) put() api.InstanceStatePut {
	return api.InstanceStatePut{Action: a.request, Timeout: a.timeout, Force: a.force, Stateful: a.stateful}
}

// runAll changes the state of all instances of one or more remotes.
func (a *action) runAll(args []string) error {
	if a.console != "" {
		return errors.New(T("--console can't be used with --all"))
	}
	if len(args) == 0 {
		args = []string{""}
	}
	for _, arg := range args {
		server, name, err := a.c.parse(arg)
		if err != nil {
			return err
		}
		if name != "" {
			return errors.New(T("Both --all and instance name given"))
		}
		if err := a.everyInstance(server); err != nil {
			return err
		}
	}
	return nil
}

func (a *action) everyInstance(server *client.Client) error {
	if server.HasExtension("instance_bulk_state_change") {
		put := a.put()
		op, err := server.UpdateInstances(api.InstancesPut{State: &put}, "")
		if err != nil {
			return err
		}
		return a.c.waitOp(op, a.c.newProgress(""))
	}
	instances, err := server.Instances()
	if err != nil {
		return err
	}
	failed := false
	for _, i := range instances {
		if !a.applies(i.StatusCode) {
			continue
		}
		op, err := server.UpdateInstanceState(i.Name, a.put(), "")
		if err == nil {
			err = a.c.waitOp(op, nil)
		}
		if err != nil {
			failed = true
			fmt.Fprintf(a.c.Err, T("%s: error: %v")+"\n", i.Name, err)
		}
	}
	if failed {
		return fmt.Errorf(T("Some instances failed to %s"), a.verb)
	}
	return nil
}

// applies tells whether an instance in this state is one that "--all" means.
func (a *action) applies(state api.StatusCode) bool {
	switch a.verb {
	case "start":
		return state == api.Stopped || state == api.Frozen
	case "stop":
		return state != api.Stopped
	}
	return state == api.Running
}

// failed is what went wrong with one of several arguments.
type failed struct {
	name string
	err  error
}

// batchWidth is how many instances are worked on at once.
const batchWidth = 10

// batch runs fn for each argument, several at a time, and returns the failures in the order of the arguments.
func (c *App) batch(args []string, fn func(string) error) []failed {
	for _, a := range args {
		// Connections are made one by one: the table of them is not locked.
		if remote, _, err := c.parseRemote(a); err == nil {
			_, _ = c.server(remote)
		}
	}
	errs := make([]error, len(args))
	slots := make(chan struct{}, batchWidth)
	var wg sync.WaitGroup
	for i, a := range args {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			errs[i] = fn(a)
			<-slots
		}()
	}
	wg.Wait()
	var out []failed
	for i, err := range errs {
		if err != nil {
			out = append(out, failed{name: args[i], err: err})
		}
	}
	return out
}

// splitSnapshot splits "instance/snapshot".
func splitSnapshot(name string) (instance, snapshot string, isSnapshot bool) {
	return strings.Cut(name, "/")
}
