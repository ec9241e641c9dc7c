package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) volumeRenameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("rename", poolArgument, snapshotArgument, snapshotArgument),
		Short: T("Rename a volume or a snapshot of one"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(3, 3, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		from, to := parseVolume(args[1]), parseVolume(args[2])
		if (from.snapshot == "") != (to.snapshot == "") {
			return errors.New(T("Invalid snapshot name"))
		}
		if from.snapshot == "" {
			if err := server.RenameStorageVolume(pool, from.name, to.name); err != nil {
				return err
			}
			c.say(T(`Renamed storage volume from "%s" to "%s"`), from.name, to.name)
			return nil
		}
		if from.name != to.name {
			return errors.New(T("The volume of a snapshot can't be changed"))
		}
		if err := c.waitStarted(server.RenameStorageVolumeSnapshot(pool, from.name, from.snapshot, to.snapshot)); err != nil {
			return err
		}
		c.say(T(`Renamed storage volume from "%s" to "%s"`), from.path(), to.snapshot)
		return nil
	})
	return cmd
}

func (c *App) volumeSnapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("snapshot", poolArgument, volumeArgument, "[<new-name>]"),
		Short: T("Keep the present content of a volume as a snapshot"),
	}
	target := targetFlag(cmd)
	noExpiry := cmd.Flags().Bool("no-expiry", false, T("Keep it until it is deleted, whatever snapshots.expiry says"))
	reuse := cmd.Flags().Bool("reuse", false, T("Replace a snapshot that has this name"))
	cmd.RunE = takes(2, 3, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		v := parseVolume(args[1])
		if v.kind != "custom" {
			return errors.New(T(`Only "custom" volumes can be snapshotted`))
		}
		post := api.StorageVolumeSnapshotsPost{}
		if len(args) > 2 {
			post.Name = args[2]
		}
		if *noExpiry {
			post.ExpiresAt = &zeroTime
		}
		if *reuse && post.Name != "" {
			if _, _, err := server.StorageVolumeSnapshot(pool, v.kind, v.name, post.Name); err == nil {
				if err := c.waitStarted(server.DeleteStorageVolumeSnapshot(pool, v.name, post.Name)); err != nil {
					return err
				}
			}
		}
		return c.waitStarted(server.CreateStorageVolumeSnapshot(pool, v.name, post))
	})
	return cmd
}

func (c *App) volumeRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("restore", poolArgument, volumeArgument, "<snapshot>"),
		Short: T("Take a volume back to a snapshot"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(3, 3, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		v := parseVolume(args[1])
		_, etag, err := server.StorageVolume(pool, v.kind, v.name)
		if err != nil {
			return err
		}
		return server.UpdateStorageVolume(pool, v.kind, v.name, api.StorageVolumePut{Restore: args[2]}, etag)
	})
	return cmd
}

// transferFlags are those of copy and move.
type transferFlags struct {
	mode, target, destination, project *string
}

func addTransferFlags(cmd *cobra.Command, project string) transferFlags {
	f := cmd.Flags()
	return transferFlags{
		mode:        f.String("mode", "pull", T("Who connects to whom: pull, push or relay")+"``"),
		target:      targetFlag(cmd),
		destination: f.String("destination-target", "", T("Cluster member to put it on")+"``"),
		project:     f.String("target-project", "", project+"``"),
	}
}

// transfer is a parsed copy or move between two places of one server.
type transfer struct {
	server           *client.Client
	fromPool, toPool string
	from, to         volumeName
	project          string
}

func (c *App) parseTransfer(args []string, f transferFlags) (*transfer, error) {
	fromRemote, fromRaw, err := c.parseRemote(args[0])
	if err != nil {
		return nil, err
	}
	toRemote, toRaw, err := c.parseRemote(args[1])
	if err != nil {
		return nil, err
	}
	t := &transfer{project: *f.project}
	var volume string
	var ok bool
	if t.fromPool, volume, ok = strings.Cut(fromRaw, "/"); !ok {
		return nil, errors.New(T("No storage pool for source volume specified"))
	}
	t.from = parseVolume(volume)
	if t.toPool, volume, ok = strings.Cut(toRaw, "/"); !ok {
		return nil, errors.New(T("No storage pool for target volume specified"))
	}
	t.to = parseVolume(volume)
	if fromRemote != toRemote {
		return nil, fmt.Errorf(T("Volumes can't be transferred from %q to %q yet: both must be on one server"), fromRemote, toRemote)
	}
	if t.server, err = c.server(fromRemote); err != nil {
		return nil, err
	}
	if *f.target != "" {
		t.server = t.server.UseTarget(*f.target)
	}
	return t, nil
}

func (c *App) volumeCopyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     usage("copy", "[<remote>:]<pool>/<volume>[/<snapshot>]", "[<remote>:]<pool>/<volume>"),
		Aliases: []string{"cp"},
		Short:   T("Copy a volume, here or to another server"),
	}
	flags := addTransferFlags(cmd, T("Project to put the copy in"))
	volumeOnly := cmd.Flags().Bool("volume-only", false, T("Leave the snapshots behind"))
	cmd.RunE = takes(2, 2, func(args []string) error {
		t, err := c.parseTransfer(args, flags)
		if err != nil {
			return err
		}
		if _, _, err := t.server.StorageVolume(t.fromPool, "custom", t.from.name); err != nil {
			return err
		}
		post := api.StorageVolumesPost{Name: t.to.name, Type: "custom", Source: api.StorageVolumeSource{
			Type: "copy", Name: t.from.path(), Pool: t.fromPool, Project: cmp.Or(t.server.Project(), api.ProjectDefault), VolumeOnly: *volumeOnly,
		}}
		target := t.server
		if t.project != "" {
			target = target.UseProject(t.project)
		}
		p := c.newProgress(T("Copying the storage volume: %s"))
		op, err := target.CopyStorageVolume(t.toPool, post)
		if err != nil {
			return err
		}
		if err := c.waitOp(op, p); err != nil {
			return err
		}
		c.say(T("Storage volume copied successfully!"))
		return nil
	})
	return cmd
}

func (c *App) volumeMoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     usage("move", "[<remote>:]<pool>/<volume>", "[<remote>:]<pool>/<volume>"),
		Aliases: []string{"mv"},
		Short:   T("Move a volume to another pool"),
	}
	flags := addTransferFlags(cmd, T("Project to move it to"))
	cmd.RunE = takes(2, 2, func(args []string) error {
		t, err := c.parseTransfer(args, flags)
		if err != nil {
			return err
		}
		if t.fromPool == t.toPool && t.project == "" {
			if err := t.server.RenameStorageVolume(t.fromPool, t.from.name, t.to.name); err != nil {
				return err
			}
		} else {
			p := c.newProgress(T("Moving the storage volume: %s"))
			op, err := t.server.MoveStorageVolume(t.fromPool, t.from.name, api.StorageVolumePost{Name: t.to.name, Pool: t.toPool, Project: t.project})
			if err != nil {
				return err
			}
			if err := c.waitOp(op, p); err != nil {
				return err
			}
		}
		c.say(T("Storage volume moved successfully!"))
		return nil
	})
	return cmd
}
