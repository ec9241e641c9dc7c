package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *App) launchCommand() *cobra.Command {
	n := &create{c: c}
	start := &action{c: c, verb: "start", request: "start", timeout: -1}
	cmd := &cobra.Command{
		Use:   usage("launch", "[<remote>:]<image> [<remote>:][<new-name>]"),
		Short: T("Make an instance of an image and start it"),
		Example: examples(
			"berth launch debian/12 web", T("Make and start a container of the image debian/12, called web."),
			"berth launch debian/12 web -c limits.memory=1GiB < web.yaml", T("Give it the keys, devices and profiles of a file, and a bound of its memory."),
		),
	}
	n.flags(cmd)
	start.consoleFlag(cmd, T(attachOnceStarted))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		least := 1
		if n.empty {
			least = 0
		}
		if done, err := checkArgs(cmd, args, least, 2); done {
			return err
		}
		if err := start.checkConsole(); err != nil {
			return err
		}
		new, err := n.run(args)
		if err != nil {
			return err
		}
		if !c.flagQuiet {
			fmt.Fprintf(c.Out, T("Starting %s")+"\n", new.name)
		}
		full := new.remote + ":" + new.name
		if err := start.one(full); err != nil {
			return err
		}
		if start.console != "" {
			return c.attachConsole(full, start.console)
		}
		return nil
	}
	return cmd
}
