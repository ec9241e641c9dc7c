package cli

import "github.com/spf13/cobra"

func (c *App) pauseCommand() *cobra.Command {
	a := &action{c: c, verb: "pause", request: "freeze"}
	return a.command(T("Pause instances"), nil)
}
