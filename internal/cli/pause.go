package cli

import "github.com/spf13/cobra"

func (c *App) pauseCommand() *cobra.Command {
	a := &action{c: c, verb: "pause", request: "freeze"}
	return a.command(T("Halt all processes of instances; \"berth start\" lets them go on"), nil)
}
