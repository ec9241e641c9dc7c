package cli

import "github.com/spf13/cobra"

func (c *App) stopCommand() *cobra.Command {
	a := &action{c: c, verb: "stop", request: "stop"}
	return a.command(T("Stop instances"), func(cmd *cobra.Command) {
		a.consoleFlag(cmd)
		a.forceFlags(cmd)
		cmd.Flags().BoolVar(&a.stateful, "stateful", false, T("Store the instance state"))
	})
}
