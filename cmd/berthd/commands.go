package main

import "github.com/spf13/cobra"

// otherCommands are those whose code is kept elsewhere: each is one line here.
func otherCommands() []*cobra.Command {
	return []*cobra.Command{
		initCommand(),
		storeCommand(),
	}
}
