package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("snapshot", T("[<remote>:]<instance>[/<snapshot name>] [<snapshot name>]")),
		Short: T("Create instance snapshots"),
		Long:  describe(T("Create instance snapshots"), T(`With --stateful the running state (memory, connections, ...) is saved too, where the server can.`)),
		Example: `  berth snapshot u1 snap0
      ` + T(`Create a snapshot of "u1" called "snap0".`),
	}
	stateful := cmd.Flags().Bool("stateful", false, T("Whether or not to snapshot the instance's running state"))
	noExpiry := cmd.Flags().Bool("no-expiry", false, T("Ignore any configured auto-expiry for the instance"))
	reuse := cmd.Flags().Bool("reuse", false, T("If the snapshot name already exists, delete and create a new one"))
	cmd.RunE = takes(1, 2, func(args []string) error {
		post := api.InstanceSnapshotsPost{Stateful: *stateful}
		if len(args) == 2 {
			post.Name = args[1]
		}
		server, name, err := c.parse(args[0])
		if err != nil {
			return err
		}
		if instance, snapshot, full := splitSnapshot(name); full {
			if post.Name != "" {
				return fmt.Errorf(T("%q names a snapshot already: a second name makes no sense"), name)
			}
			name, post.Name = instance, snapshot
		}
		if *reuse && post.Name != "" {
			if _, _, err := server.InstanceSnapshot(name, post.Name); err == nil {
				if err := c.waitStarted(server.DeleteInstanceSnapshot(name, post.Name)); err != nil {
					return err
				}
			}
		}
		if *noExpiry {
			post.ExpiresAt = &time.Time{}
		}
		return c.waitStarted(server.CreateInstanceSnapshot(name, post))
	})
	return cmd
}
