package cli

import "github.com/spf13/cobra"

func (c *App) restartCommand() *cobra.Command {
	a := &action{c: c, verb: "restart", request: "restart"}
	return a.command(T("Restart instances"), func(cmd *cobra.Command) {
		a.consoleFlag(cmd)
		a.forceFlags(cmd)
	})
}
