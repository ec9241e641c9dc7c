package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) networkCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("create", "[<remote>:]<new-name>", "[key=value...]"),
		Short: T("Make a network"),
		Example: examples(
			"berth network create br1", T("Make a bridge br1, with subnets that are free."),
			"berth network create br2 ipv4.address=10.20.30.1/24 ipv6.address=none", T("Make one with a given subnet, and without IPv6."),
		),
	}
	target := targetFlag(cmd)
	kind := cmd.Flags().StringP("type", "t", "", T("Kind of network: bridge")+"``")
	cmd.RunE = takes(1, -1, func(args []string) error {
		server, name, err := c.network(args[0], *target)
		if err != nil {
			return err
		}
		post := api.NetworksPost{Name: name, Type: *kind}
		if post.Config, err = pairs(args[1:]); err != nil {
			return err
		}
		if err := server.CreateNetwork(post); err != nil {
			return err
		}
		if !c.flagQuiet {
			fmt.Fprintf(c.Out, T("Network %s created")+"\n", name)
		}
		return nil
	})
	return cmd
}

func (c *App) networkDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: usage("delete", networkArgument), Aliases: []string{"rm"},
		Short: T("Delete a network"),
		RunE: takes(1, 1, func(args []string) error {
			server, name, err := c.network(args[0], "")
			if err != nil {
				return err
			}
			if err := server.DeleteNetwork(name); err != nil {
				return err
			}
			if !c.flagQuiet {
				fmt.Fprintf(c.Out, T("Network %s deleted")+"\n", name)
			}
			return nil
		}),
	}
}

func (c *App) networkRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use: usage("rename", networkArgument, "<new-name>"), Aliases: []string{"mv"},
		Short: T("Rename a network"),
		RunE: takes(2, 2, func(args []string) error {
			server, name, err := c.network(args[0], "")
			if err != nil {
				return err
			}
			if err := server.RenameNetwork(name, api.NetworkPost{Name: args[1]}); err != nil {
				return err
			}
			if !c.flagQuiet {
				fmt.Fprintf(c.Out, T("Network %s renamed to %s")+"\n", name, args[1])
			}
			return nil
		}),
	}
}

func (c *App) networkEditCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("edit", networkArgument),
		Short: T("Change a network in an editor"),
		Example: examples(
			"berth network edit br1", T("Open the network in $EDITOR, and take over what is saved."),
			"berth network edit br1 < br1.yaml", T("Take it from a file, without an editor."),
		),
		RunE: takes(1, 1, func(args []string) error {
			server, name, err := c.network(args[0], "")
			if err != nil {
				return err
			}
			n, etag := (*api.Network)(nil), ""
			if isTerminal(c.In) {
				if n, etag, err = server.Network(name); err != nil {
					return err
				}
				if !n.Managed {
					return fmt.Errorf("%s", T("Only managed networks can be modified"))
				}
			}
			return c.editYAML(networkHelp(), n, func(data []byte) error {
				var next api.Network
				if err := fromYAML(data, &next); err != nil {
					return err
				}
				return server.UpdateNetwork(name, next.NetworkPut, etag)
			})
		}),
	}
}

func networkHelp() string {
	return yamlHelp(T(`The network as YAML. Lines that begin with # are left out. What can be changed is config and description.

For example:
config:
  ipv4.address: 10.20.30.1/24
  ipv4.nat: "true"
  ipv6.address: none
description: for the build machines`))
}

func (c *App) networkGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("get", networkArgument, "<key>"),
		Short: T("Print the value of a network's key"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		server, name, err := c.network(args[0], *target)
		if err != nil {
			return err
		}
		n, _, err := server.Network(name)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.Out, n.Config[args[1]])
		return nil
	})
	return cmd
}

func (c *App) networkSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("set", networkArgument, "<key>=<value>..."),
		Short: T("Give keys of a network new values"),
		Long: T(`One key and its value may also be two arguments:
    berth network set [<remote>:]<network> <key> <value>`),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, -1, func(args []string) error {
		return c.setNetworkKeys(args[0], *target, args[1:]...)
	})
	return cmd
}

func (c *App) networkUnsetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("unset", networkArgument, "<key>"),
		Short: T("Take a key of a network away, so that its default counts again"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		return c.setNetworkKeys(args[0], *target, args[1]+"=")
	})
	return cmd
}

// setNetworkKeys changes keys of a network's configuration.
func (c *App) setNetworkKeys(raw, target string, args ...string) error {
	server, name, err := c.network(raw, target)
	if err != nil {
		return err
	}
	keys, err := c.keyValues(args...)
	if err != nil {
		return err
	}
	n, etag, err := server.Network(name)
	if err != nil {
		return err
	}
	if !n.Managed {
		return fmt.Errorf("%s", T("Only managed networks can be modified"))
	}
	if n.Config == nil {
		n.Config = map[string]string{}
	}
	for key, value := range keys {
		n.Config[key] = value
	}
	return server.UpdateNetwork(name, n.NetworkPut, etag)
}
