package cli

import "github.com/spf13/cobra"

func (c *App) restartCommand() *cobra.Command {
	a := &action{c: c, verb: "restart", request: "restart"}
	return a.command(T("Stop instances and start them again"), func(cmd *cobra.Command) {
		a.consoleFlag(cmd, T(attachOnceStarted))
		a.forceFlags(cmd)
	})
}
