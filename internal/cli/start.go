package cli

import "github.com/spf13/cobra"

func (c *App) startCommand() *cobra.Command {
	a := &action{c: c, verb: "start", request: "start"}
	return a.command(T("Start instances"), func(cmd *cobra.Command) {
		a.consoleFlag(cmd)
		cmd.Flags().BoolVar(&a.stateless, "stateless", false, T("Ignore the instance state"))
	})
}
