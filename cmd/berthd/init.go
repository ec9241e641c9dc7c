package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/initcmd"
)

// initCommand is "berthd init": it prepares the daemon of $BERTH_DIR, as "lxd init" does.
func initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init", Short: "Configure the daemon", Args: cobra.NoArgs,
		Long: "Configure the daemon: by questions, or with --auto, --minimal, --preseed or --dump.",
		Example: `  berthd init --minimal
  berthd init --auto --network-address=192.0.2.7 --trust-password=sesame
  berthd init --preseed < preseed.yaml
  berthd init --dump`,
	}
	o := initcmd.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := client.ConnectUnix(filepath.Join(rootDir(), "unix.socket"))
		if err != nil {
			return err
		}
		return initcmd.Run(c, o, os.Stdin, initcmd.Ask(os.Stdin, os.Stdout, os.Stderr))
	}
	return cmd
}
