package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/term"

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
	o := InitFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && !n.empty {
			server, _, err := c.parse("")
			if err != nil {
				return err
			}
			return initcmd.Run(server, o, c.In, c.questions())
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

// InitFlags adds the flags of a server's configuration to a command.
func InitFlags(cmd *cobra.Command) *initcmd.Options {
	o := &initcmd.Options{}
	f := cmd.Flags()
	f.BoolVar(&o.Auto, "auto", false, T("Automatic (non-interactive) mode"))
	f.BoolVar(&o.Minimal, "minimal", false, T("Minimal configuration (non-interactive)"))
	f.BoolVar(&o.Preseed, "preseed", false, T("Pre-seed mode, expects YAML config from stdin"))
	f.BoolVar(&o.Dump, "dump", false, T("Dump YAML config to stdout"))
	f.StringVar(&o.NetworkAddress, "network-address", "", T("Address to bind the server to (default: none)")+"``")
	f.IntVar(&o.NetworkPort, "network-port", -1, T("Port to bind the server to (default: 8443)")+"``")
	f.StringVar(&o.StorageBackend, "storage-backend", "", T("Storage backend to use (btrfs, dir, lvm or zfs, default: dir)")+"``")
	f.StringVar(&o.StorageDevice, "storage-create-device", "", T("Setup device based storage using DEVICE")+"``")
	f.IntVar(&o.StorageLoop, "storage-create-loop", -1, T("Setup loop based storage with SIZE in GB")+"``")
	f.StringVar(&o.StoragePool, "storage-pool", "", T("Storage pool to use or create")+"``")
	f.StringVar(&o.TrustPassword, "trust-password", "", T("Password required to add new clients")+"``")
	return o
}

func (c *App) questions() *initcmd.Questions {
	q := &initcmd.Questions{Out: c.Out, Err: c.Err, Line: c.readLine}
	if f := c.stdinFile(); f != nil && isTerminal(f) {
		q.Secret = func() (string, error) {
			data, err := term.ReadPassword(int(f.Fd()))
			return string(data), err
		}
	}
	return q
}
