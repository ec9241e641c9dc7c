package cli

import "github.com/spf13/cobra"

func (c *App) stopCommand() *cobra.Command {
	a := &action{c: c, verb: "stop", request: "stop"}
	return a.command(T("Shut instances down"), func(cmd *cobra.Command) {
		a.consoleFlag(cmd, T("Watch this console while the instance shuts down: console or vga"))
		a.forceFlags(cmd)
		cmd.Flags().BoolVar(&a.stateful, "stateful", false, T("Save the running state, to go on from at the next start"))
	})
}
