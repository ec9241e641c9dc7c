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
		Use:   usage("init", T("[<remote>:]<image> [<remote>:][<name>]")),
		Short: T("Create instances from images, or configure the server"),
		Long: describe(T("Create instances from images, or configure the server"),
			T("Without an image the server is configured: by questions, or with --auto, --minimal, --preseed or --dump.")),
		Example: `  berth init debian/12 u1

  berth init debian/12 u1 < config.yaml
      ` + T("Create the instance with configuration from config.yaml") + `

  berth init --auto
  berth init --preseed < preseed.yaml
      ` + T("Configure the server"),
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
