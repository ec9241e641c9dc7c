package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/internal/initcmd"
)

// initCommand makes an instance, as lxc init does; or, called without an image, prepares the server, as lxd init does.
func (c *App) initCommand() *cobra.Command {
	n := &create{c: c}
	cmd := &cobra.Command{
		Use:   usage("init", "[<remote>:]<image> [<remote>:][<new-name>]"),
		Short: T("Make an instance without starting it; or set the server up"),
		Long:  T("Without an image the server is configured: by questions, or with --auto, --minimal, --preseed or --dump."),
		Example: examples(
			"berth init debian/12 web", T("Make an instance of the image debian/12, called web."),
			"berth init debian/12 web < web.yaml", T("Give it the keys, devices and profiles of a file."),
			"berth init --auto", T("Set the server up: a storage pool, a network, and a default profile with both."),
		),
	}
	n.flags(cmd)
	o := initcmd.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && !n.empty {
			server, _, err := c.parse("")
			if err != nil {
				return err
			}
			return initcmd.Run(server, o, c.In, initcmd.Ask(c.In, c.Out, c.Err))
		}
		if done, err := checkArgs(cmd, args, 0, 2); done {
			return err
		}
		if o.Auto || o.Minimal || o.Preseed || o.Dump {
			return fmt.Errorf(T("%s configures the server: no image can be given"), "--auto, --minimal, --preseed, --dump")
		}
		_, err := n.run(args)
		return err
	}
	return cmd
}
