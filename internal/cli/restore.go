package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("restore", "[<remote>:]<instance>[/<snapshot>] [<snapshot>]"),
		Short: T("Take an instance back to a snapshot"),
		Long:  T("Its files, keys and devices become those of the snapshot."),
		Example: examples(
			"berth restore web before-upgrade", T("Make web what it was when the snapshot was taken."),
		),
	}
	stateful := cmd.Flags().Bool("stateful", false, T("Go on from the running state that the snapshot holds, if it has one"))
	cmd.RunE = takes(1, 2, func(args []string) error {
		server, name, err := c.parse(args[0])
		if err != nil {
			return err
		}
		instance, _, full := splitSnapshot(name)
		snapshot := name
		switch {
		case len(args) == 1 && !full:
			return errArguments
		case len(args) == 2 && full:
			return fmt.Errorf(T("%q names a snapshot already: a second name makes no sense"), name)
		case len(args) == 2:
			snapshot = args[1]
			if _, _, full := splitSnapshot(snapshot); !full {
				snapshot = name + "/" + snapshot
			}
		}
		op, err := server.UpdateInstance(instance, api.InstancePut{Restore: snapshot, Stateful: *stateful}, "")
		if err != nil {
			return err
		}
		return c.waitOp(op, c.newProgress(T("Restoring instance: %s")))
	})
	return cmd
}
