package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) deleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     usage("delete", "[<remote>:]<instance>[/<snapshot>] [[<remote>:]<instance>[/<snapshot>]...]"),
		Aliases: []string{"rm"},
		Short:   T("Delete instances, with all their snapshots, or single snapshots"),
	}
	force := cmd.Flags().BoolP("force", "f", false, T("Stop instances that run, then delete them"))
	interactive := cmd.Flags().BoolP("interactive", "i", false, T("Ask before each one"))
	cmd.RunE = takes(1, -1, func(args []string) error {
		targets, err := c.parseAll(args...)
		if err != nil {
			return err
		}
		// All are looked at first: a typing error in the last name must not cost the others.
		for _, t := range targets {
			if err := t.exists(); err != nil {
				return err
			}
		}
		for _, t := range targets {
			if *interactive {
				if err := c.confirmDelete(t); err != nil {
					return err
				}
			}
			if err := c.deleteOne(t, *force); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}

func (t resource) exists() error {
	if t.name == "" {
		return fmt.Errorf(T("Invalid instance name %q"), t.name)
	}
	instance, snapshot, isSnapshot := splitSnapshot(t.name)
	if isSnapshot {
		if _, _, err := t.server.InstanceSnapshot(instance, snapshot); err != nil {
			return fmt.Errorf(T(`Failed checking instance snapshot exists "%s:%s": %w`), t.remote, t.name, err)
		}
		return nil
	}
	if _, _, err := t.server.Instance(instance); err != nil {
		return fmt.Errorf(T(`Failed checking instance exists "%s:%s": %w`), t.remote, t.name, err)
	}
	return nil
}

func (c *App) confirmDelete(t resource) error {
	answer, err := c.ask(fmt.Sprintf(T("Remove %s (yes/no): "), t.name))
	if err != nil {
		return err
	}
	if !slices.Contains([]string{T("yes"), "y"}, strings.ToLower(answer)) {
		return errors.New(T("User aborted delete operation"))
	}
	return nil
}

func (c *App) deleteOne(t resource, force bool) error {
	instance, snapshot, isSnapshot := splitSnapshot(t.name)
	if isSnapshot {
		return c.waitStarted(t.server.DeleteInstanceSnapshot(instance, snapshot))
	}
	current, _, err := t.server.Instance(instance)
	if err != nil {
		return err
	}
	if current.StatusCode != 0 && current.StatusCode != api.Stopped && current.StatusCode != api.StatusError {
		if !force {
			return errors.New(T("The instance is currently running, stop it first or pass --force"))
		}
		if err := c.forceStop(t.server, instance); err != nil {
			return fmt.Errorf(T("Stopping the instance failed: %w"), err)
		}
		if current.Ephemeral {
			return nil // gone with the stop
		}
	}
	return c.waitStarted(t.server.DeleteInstance(instance))
}

func (c *App) forceStop(server *client.Client, instance string) error {
	return c.waitStarted(server.UpdateInstanceState(instance, api.InstanceStatePut{Action: "stop", Timeout: -1, Force: true}, ""))
}
