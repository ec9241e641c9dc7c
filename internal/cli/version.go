package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/internal/version"
)

func (c *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("version", "[<remote>:]"),
		Short: T("Print the versions of this client and of a server"),
		RunE: takes(0, 1, func(args []string) error {
			remote := ""
			if len(args) == 1 {
				remote = args[0]
			}
			found := T("unreachable")
			if server, _, err := c.parse(remote); err == nil {
				if info, _, err := server.Server(); err == nil {
					found = info.Environment.ServerVersion
				}
			}
			fmt.Fprintf(c.Out, T("Client version: %s")+"\n", version.Version)
			fmt.Fprintf(c.Out, T("Server version: %s")+"\n", found)
			return nil
		}),
	}
}
