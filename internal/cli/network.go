package cli

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) networkCommand() *cobra.Command {
	return group("network", T("Manage networks, and connect instances to them"),
		c.networkAttachCommand(), c.networkAttachProfileCommand(), c.networkCreateCommand(), c.networkDeleteCommand(),
		c.networkDetachCommand(), c.networkDetachProfileCommand(), c.networkEditCommand(), c.networkGetCommand(), c.networkInfoCommand(),
		c.networkListCommand(), c.networkListLeasesCommand(), c.networkRenameCommand(), c.networkSetCommand(), c.networkShowCommand(),
		c.networkUnsetCommand())
}

// networkArgument is how the usage lines name a network.
const networkArgument = "[<remote>:]<network>"

// network parses the argument that names a network.
func (c *App) network(raw, target string) (*client.Client, string, error) {
	server, name, err := c.named(raw, T("Missing network name"))
	if err != nil {
		return nil, "", err
	}
	return server.UseTarget(target), name, nil
}

func (c *App) networkListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("list", "[<remote>:]"), Aliases: []string{"ls"},
		Short: T("List the networks of a server"),
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			_, err := checkArgs(cmd, args, 0, 1)
			return err
		}
		server, name, err := c.parse(strings.Join(args, ""))
		if err != nil {
			return err
		}
		if name != "" {
			return errors.New(T("Filtering isn't supported yet"))
		}
		networks, err := server.Networks()
		if err != nil {
			return err
		}
		var rows [][]string
		for _, n := range networks {
			if n.Type == "loopback" || n.Type == "unknown" {
				continue
			}
			managed := T("NO")
			if n.Managed {
				managed = T("YES")
			}
			rows = append(rows, []string{n.Name, n.Type, managed, n.Config["ipv4.address"], n.Config["ipv6.address"],
				n.Description, strconv.Itoa(len(n.UsedBy)), strings.ToUpper(n.Status)})
		}
		sortRows(rows)
		header := []string{T("NAME"), T("TYPE"), T("MANAGED"), T("IPV4"), T("IPV6"), T("DESCRIPTION"), T("USED BY"), T("STATE")}
		return c.printTable(*format, header, rows, networks)
	}
	return cmd
}

func (c *App) networkListLeasesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("list-leases", networkArgument),
		Short: T("List the addresses that a network has given out"),
	}
	format := formatFlag(cmd)
	cmd.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.network(args[0], "")
		if err != nil {
			return err
		}
		leases, err := server.NetworkLeases(name)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, l := range leases {
			rows = append(rows, []string{l.Hostname, l.Hwaddr, l.Address, strings.ToUpper(l.Type)})
		}
		sortRows(rows)
		header := []string{T("HOSTNAME"), T("MAC ADDRESS"), T("IP ADDRESS"), T("TYPE")}
		return c.printTable(*format, header, rows, leases)
	})
	return cmd
}

func (c *App) networkShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("show", networkArgument),
		Short: T("Print a network as YAML"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.network(args[0], *target)
		if err != nil {
			return err
		}
		n, _, err := server.Network(name)
		if err != nil {
			return err
		}
		sort.Strings(n.UsedBy)
		return c.printYAML(n)
	})
	return cmd
}

func (c *App) networkInfoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("info", networkArgument),
		Short: T("Tell what state a network is in: addresses, traffic"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.network(args[0], *target)
		if err != nil {
			return err
		}
		state, err := server.NetworkState(name)
		if err != nil {
			return err
		}
		c.printNetworkState(name, state)
		return nil
	})
	return cmd
}

func (c *App) printNetworkState(name string, s *api.NetworkState) {
	w := printableWriter{c.Out}
	line := func(indent, label string, value any) { fmt.Fprintf(w, "%s%s: %v\n", indent, label, value) }
	head := func(label string) { fmt.Fprintf(w, "\n%s:\n", label) }
	line("", T("Name"), name)
	line("", T("MAC address"), s.Hwaddr)
	line("", T("MTU"), s.Mtu)
	line("", T("State"), s.State)
	line("", T("Type"), s.Type)
	if len(s.Addresses) > 0 {
		head(T("IP addresses"))
		for _, a := range s.Addresses {
			fmt.Fprintf(w, "  %s\t%s/%s (%s)\n", a.Family, a.Address, a.Netmask, a.Scope)
		}
	}
	head(T("Network usage"))
	line("  ", T("Bytes received"), byteSize(s.Counters.BytesReceived, 2))
	line("  ", T("Bytes sent"), byteSize(s.Counters.BytesSent, 2))
	line("  ", T("Packets received"), s.Counters.PacketsReceived)
	line("  ", T("Packets sent"), s.Counters.PacketsSent)
	if b := s.Bond; b != nil {
		head(T("Bond"))
		line("  ", T("Mode"), b.Mode)
		line("  ", T("Transmit policy"), b.TransmitPolicy)
		line("  ", T("Up delay"), b.UpDelay)
		line("  ", T("Down delay"), b.DownDelay)
		line("  ", T("MII Frequency"), b.MIIFrequency)
		line("  ", T("MII state"), b.MIIState)
		line("  ", T("Lower devices"), strings.Join(b.LowerDevices, ", "))
	}
	if b := s.Bridge; b != nil {
		head(T("Bridge"))
		line("  ", T("ID"), b.ID)
		line("  ", T("STP"), b.STP)
		line("  ", T("Forward delay"), b.ForwardDelay)
		line("  ", T("Default VLAN ID"), b.VLANDefault)
		line("  ", T("VLAN filtering"), b.VLANFiltering)
		line("  ", T("Upper devices"), strings.Join(b.UpperDevices, ", "))
	}
	if v := s.VLAN; v != nil {
		head(T("VLAN"))
		line("  ", T("Lower device"), v.LowerDevice)
		line("  ", T("VLAN ID"), v.VID)
	}
	if o := s.OVN; o != nil {
		head(T("OVN"))
		line("  ", T("Chassis"), o.Chassis)
	}
}
