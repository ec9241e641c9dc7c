package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) moveCommand() *cobra.Command {
	t := &instanceTransfer{c: c, keepVolatile: true}
	cmd := c.simple("move", "[<remote>:]<instance>[/<snapshot>] [[<remote>:][<instance>[/<snapshot>]]]", T("Rename an instance, or move it to another pool, project or server"), 1, 2, func(args []string) error {
		if len(args) == 1 {
			if t.storage == "" && t.targetProject == "" && t.target == "" {
				return errors.New(T("You must specify a destination instance name"))
			}
			args = append(args, args[0])
		}
		return t.move(args[0], args[1])
	})
	cmd.Aliases = []string{"mv"}
	cmd.Example = examples(
		"berth move web www", T("Give the instance web a new name."),
		"berth move web/monday web/start", T("Give a snapshot a new name."),
		"berth move web web --storage fast", T("Move it to the pool fast."),
	)
	t.flags(cmd)
	return cmd
}

func (t *instanceTransfer) move(source, dest string) error {
	server, sourceName, err := t.c.parse(source)
	if err != nil {
		return err
	}
	fromRemote, _, _ := t.c.parseRemote(source)
	toRemote, destName, err := t.c.parseRemote(dest)
	if err != nil {
		return err
	}
	if fromRemote != toRemote {
		return errors.New(T("Instances can't be moved between servers by this version: use one remote"))
	}
	instance, snapshot, isSnapshot := splitSnapshot(sourceName)
	if destName == "" {
		destName = sourceName
	}
	if isSnapshot {
		destInstance, destSnapshot, ok := splitSnapshot(destName)
		if !ok || destInstance != instance {
			return errors.New(T("Invalid new snapshot name, parent must be the same as source"))
		}
		return t.c.waitStarted(server.RenameInstanceSnapshot(instance, snapshot, api.InstanceSnapshotPost{Name: destSnapshot}))
	}
	if len(t.config)+len(t.devices)+len(t.profiles) > 0 || t.noProfiles {
		return errors.New(T("Can't override configuration or profiles in local rename"))
	}
	if t.storage == "" && t.targetProject == "" && t.target == "" {
		return t.c.waitStarted(server.RenameInstance(instance, api.InstancePost{Name: destName}))
	}
	return t.relocate(server, instance, destName)
}

// relocate moves to another pool, project or cluster member; the server copies and deletes.
func (t *instanceTransfer) relocate(server *client.Client, instance, destName string) error {
	post := api.InstancePost{Name: destName, Migration: true, Pool: t.storage, Project: t.targetProject, InstanceOnly: t.instanceOnly, ContainerOnly: t.instanceOnly, AllowInconsistent: t.allowInconsistent}
	if t.target != "" {
		server = server.UseTarget(t.target)
	}
	op, err := server.RenameInstance(instance, post)
	if err != nil {
		return err
	}
	return t.c.waitOp(op, t.c.newProgress(T("Transferring instance: %s")))
}
