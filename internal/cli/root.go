package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/internal/version"
)

// commonCommands are the verbs that the short help shows.
var commonCommands = map[string]bool{
	"config": true, "copy": true, "delete": true, "exec": true, "file": true, "image": true, "info": true, "init": true, "launch": true,
	"list": true, "move": true, "network": true, "profile": true, "project": true, "publish": true, "remote": true, "rename": true,
	"restart": true, "restore": true, "snapshot": true, "start": true, "stop": true, "storage": true, "help": true, "console": true,
}

// rootCommand lists the verbs.
func (c *App) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: T("Manage system containers with Berth"),
		Long: T(`This client speaks to a Berth server: the one of this machine, or a remote one, as in "berth list far:" or "berth info far:web".
Each command tells more about itself with --help.`),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: false, HiddenDefaultCmd: true},
		PersistentPreRunE: c.preRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.flagVersion {
				fmt.Fprintln(c.Out, version.Version)
				return nil
			}
			return cmd.Help()
		},
	}
	root.SetIn(c.In)
	root.SetOut(nil)
	root.SetErr(c.Err)
	c.globalFlags(root)
	root.AddCommand(
		c.aliasCommand(),
		c.clusterCommand(),
		c.configCommand(),
		c.consoleCommand(),
		c.copyCommand(),
		c.deleteCommand(),
		c.execCommand(),
		c.fileCommand(),
		c.imageCommand(),
		c.infoCommand(),
		c.initCommand(),
		c.launchCommand(),
		c.listCommand(),
		c.manpageCommand(),
		c.monitorCommand(),
		c.moveCommand(),
		c.networkCommand(),
		c.operationCommand(),
		c.pauseCommand(),
		c.profileCommand(),
		c.projectCommand(),
		c.authCommand(),
		c.publishCommand(),
		c.queryCommand(),
		c.remoteCommand(),
		c.renameCommand(),
		c.restartCommand(),
		c.restoreCommand(),
		c.snapshotCommand(),
		c.startCommand(),
		c.stopCommand(),
		c.storageCommand(),
		c.versionCommand(),
		c.warningCommand(),
	)
	setUsage(root, c)
	c.addCompletions(root)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		// Usage goes to standard error, as lxc has it: the output is set for the help alone.
		root.SetOut(c.Out)
		defer root.SetOut(nil)
		help(cmd, args)
	})
	return root
}

func (c *App) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&c.flagProject, "project", "", T("Project that the command means, for this once")+"``")
	f.BoolVar(&c.flagForceLocal, "force-local", false, T("Use the socket of this machine, whatever the default remote is"))
	f.BoolVarP(&c.flagVerbose, "verbose", "v", false, T("Print each request that is made"))
	f.BoolVar(&c.flagDebug, "debug", false, T("Print each request and answer in full, without secrets"))
	f.BoolVarP(&c.flagQuiet, "quiet", "q", false, T("Do not show progress"))
	f.BoolVar(&c.flagVersion, "version", false, T("Print this client's version and end"))
	f.BoolVar(&c.flagHelpAll, "sub-commands", false, T("With --help: list all commands below this one"))
	f.BoolP("help", "h", false, T("Print this help"))
	root.Flags().BoolVar(&c.flagAll, "all", false, T("With --help: list the commands that few need, too"))
}

func (c *App) preRun(cmd *cobra.Command, _ []string) error {
	c.startLogging()
	if c.flagVersion && cmd.HasParent() {
		fmt.Fprintln(c.Out, version.Version)
		return errDone
	}
	return nil
}

// errDone ends a command early and well.
var errDone = errors.New("done")
