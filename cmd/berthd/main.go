// Command berthd is Berth's daemon, and what one does with it by hand.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/internal/version"
)

func main() {
	root := rootCommand()
	root.SetArgs(withoutEmpty(os.Args[1:]))
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// withoutEmpty drops empty arguments: scripts pass `"${DEBUG-}"`.
func withoutEmpty(args []string) []string {
	kept := []string{}
	for _, a := range args {
		if a != "" {
			kept = append(kept, a)
		}
	}
	return kept
}

// rootDir is the daemon's folder.
func rootDir() string {
	if dir := os.Getenv("BERTH_DIR"); dir != "" {
		return dir
	}
	return "/var/lib/berth"
}

func rootCommand() *cobra.Command {
	var o daemonOptions
	root := &cobra.Command{
		Use:   "berthd",
		Short: "The Berth daemon",
		Long: `The Berth daemon manages the containers of this machine and answers on a socket in its folder.

The folder is $BERTH_DIR, or /var/lib/berth. Without a command, the daemon runs in the foreground.`,
		Args:              cobra.NoArgs,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:              func(*cobra.Command, []string) error { return runDaemon(o) },
	}
	flags := root.PersistentFlags()
	flags.BoolVarP(&o.debug, "debug", "d", false, "Log everything, down to each request")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "Log what the daemon does")
	flags.StringVar(&o.logfile, "logfile", "", "Write the log to this file as well")
	flags.BoolVar(&o.syslog, "syslog", false, "Write the log to syslog as well")
	root.Flags().StringVar(&o.group, "group", "", "Group whose members may use the socket")
	root.PersistentFlags().StringArrayVar(&o.trace, "trace", nil, "Log this part of the daemon in full (the same as --debug)")

	root.AddCommand(
		activateCommand(&o),
		debugCommand(),
		shutdownCommand(),
		versionCommand(),
		waitreadyCommand(),
	)
	root.AddCommand(otherCommands()...)
	root.Version = version.Version
	root.SetVersionTemplate("{{.Version}}\n")
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version.Version) },
	}
}
