package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// clusterCommand answers for a server that stands alone.
func (c *App) clusterCommand() *cobra.Command {
	cmd := c.simple("list", "[<remote>:]", T("List the servers of a cluster"), 0, 1, func(args []string) error {
		server, _, err := c.parse(first(args))
		if err != nil {
			return err
		}
		info, _, err := server.Server()
		if err != nil {
			return err
		}
		if !slices.Contains(info.APIExtensions, "clustering") {
			return fmt.Errorf(T("The server is missing the required %q API extension"), "clustering")
		}
		if !info.Environment.ServerClustered {
			return errors.New(T("LXD server isn't part of a cluster"))
		}
		return errors.New(T("This client can't show clusters"))
	})
	cmd.Aliases = []string{"ls"}
	_ = formatFlag(cmd) // taken, so that what is wrong is the server and not the flag
	return group("cluster", T("Look at a cluster"), cmd)
}
