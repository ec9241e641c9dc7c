package cli

import "github.com/spf13/cobra"

func (c *App) startCommand() *cobra.Command {
	a := &action{c: c, verb: "start", request: "start"}
	return a.command(T("Start instances, or let paused ones go on"), func(cmd *cobra.Command) {
		a.consoleFlag(cmd, T(attachOnceStarted))
		cmd.Flags().BoolVar(&a.stateless, "stateless", false, T("Start afresh, and drop a running state that was saved"))
	})
}
