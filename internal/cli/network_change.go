package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) networkCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("create", networkArgument, "[key=value...]"),
		Short: T("Create new networks"),
		Example: "  berth network create foo\n      " + T("Create a new network called foo") +
			"\n\n  berth network create bar ipv4.address=10.20.30.1/24 ipv6.address=none\n      " + T("Create a network with an address of your choice, without IPv6"),
	}
	target := targetFlag(cmd)
	kind := cmd.Flags().StringP("type", "t", "", T("Network type")+"``")
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
		Short: T("Delete networks"),
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
		Short: T("Rename networks"),
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
		Use:     usage("edit", networkArgument),
		Short:   T("Edit network configurations as YAML"),
		Example: "  berth network edit [<remote>:]<network> < network.yaml\n      " + T("Update a network using the content of network.yaml."),
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
	return yamlHelp(T(`This is a YAML representation of a network.
Any line starting with a '#' will be ignored.

A network consists of a set of configuration items.

An example would look like:
name: berthbr0
config:
  ipv4.address: 10.62.42.1/24
  ipv4.nat: "true"
  ipv6.address: fd00:56ad:9f7a:9800::1/64
  ipv6.nat: "true"
managed: true
type: bridge

Note that only the configuration and the description can be changed.`))
}

func (c *App) networkGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("get", networkArgument, "<key>"),
		Short: T("Get values for network configuration keys"),
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
		Short: T("Set network configuration keys"),
		Long: describe(T("Set network configuration keys"), T(`For backward compatibility, a single configuration key may still be set with:
    berth network set [<remote>:]<network> <key> <value>`)),
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
		Short: T("Unset network configuration keys"),
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
