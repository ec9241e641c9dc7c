package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("snapshot", "[<remote>:]<instance>[/<new-name>] [<new-name>]"),
		Short: T("Keep the present content of an instance as a snapshot"),
		Long:  T(`With --stateful the running state (memory, connections, ...) is saved too, where the server can.`),
		Example: examples(
			"berth snapshot web before-upgrade", T(`Keep web as it is now; "berth restore web before-upgrade" brings it back.`),
		),
	}
	stateful := cmd.Flags().Bool("stateful", false, T("Keep the memory and processes, too, where the server can"))
	noExpiry := cmd.Flags().Bool("no-expiry", false, T("Keep it until it is deleted, whatever snapshots.expiry says"))
	reuse := cmd.Flags().Bool("reuse", false, T("Replace a snapshot that has this name"))
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
