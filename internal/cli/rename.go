package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) renameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("rename", "[<remote>:]<instance>[/<snapshot>] <instance>[/<snapshot>]"),
		Short: T("Rename an instance or a snapshot"),
		RunE: takes(2, 2, func(args []string) error {
			sourceRemote, _, err := c.parseRemote(args[0])
			if err != nil {
				return err
			}
			destRemote, dest, err := c.parseRemote(args[1])
			if err != nil {
				return err
			}
			if destRemote != sourceRemote && destRemote != c.conf.DefaultRemote {
				return errors.New(T("Can't specify a different remote for rename"))
			}
			server, source, err := c.parse(args[0])
			if err != nil {
				return err
			}
			instance, snapshot, isSnapshot := splitSnapshot(source)
			if !isSnapshot {
				return c.waitStarted(server.RenameInstance(instance, api.InstancePost{Name: dest}))
			}
			destInstance, destSnapshot, _ := splitSnapshot(dest)
			if destInstance != instance {
				return errors.New(T("Invalid new snapshot name, parent must be the same as source"))
			}
			return c.waitStarted(server.RenameInstanceSnapshot(instance, snapshot, api.InstanceSnapshotPost{Name: destSnapshot}))
		}),
	}
}
