package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) infoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("info", "[<remote>:][<instance>]"),
		Short: T("Show the state of an instance or of a server"),
		Example: examples(
			"berth info web --show-log", T("What web uses now, and its log."),
			"berth info far: --resources", T("The hardware of the remote server far."),
		),
	}
	showLog := cmd.Flags().Bool("show-log", false, T("Add the end of the instance's log, 100 lines at most"))
	resources := cmd.Flags().Bool("resources", false, T("List the hardware of the server instead"))
	member := targetFlag(cmd)
	cmd.RunE = takes(0, 1, func(args []string) error {
		server, name, err := c.configTarget(first(args), *member)
		if err != nil {
			return err
		}
		if name != "" {
			return c.instanceInfo(server, name, *showLog)
		}
		if *resources {
			return c.resourcesInfo(server)
		}
		info, _, err := server.Server()
		if err != nil {
			return err
		}
		return c.printYAML(info)
	})
	return cmd
}

// instanceInfo shows an instance with its state, snapshots and backups.
func (c *App) instanceInfo(server *client.Client, name string, showLog bool) error {
	i, _, err := server.InstanceFull(name)
	if err != nil {
		return err
	}
	w := printableWriter{c.Out}
	fmt.Fprintf(w, T("Name: %s")+"\n", i.Name)
	if i.Description != "" {
		fmt.Fprintf(w, T("Description: %s")+"\n", i.Description)
	}
	fmt.Fprintf(w, T("Status: %s")+"\n", strings.ToUpper(i.Status))
	kind := i.Type
	if kind == "" {
		kind = string(api.InstanceTypeContainer)
	}
	if i.Ephemeral {
		kind += " (" + T("ephemeral") + ")"
	}
	fmt.Fprintf(w, T("Type: %s")+"\n", kind)
	fmt.Fprintf(w, T("Architecture: %s")+"\n", i.Architecture)
	if i.Location != "" && i.Location != "none" {
		fmt.Fprintf(w, T("Location: %s")+"\n", i.Location)
	}
	active := i.State != nil && i.State.Pid != 0
	if active {
		fmt.Fprintf(w, T("PID: %d")+"\n", i.State.Pid)
	}
	if shownTime(i.CreatedAt) {
		fmt.Fprintf(w, T("Created: %s")+"\n", i.CreatedAt.UTC().Format(layoutShort))
	}
	if shownTime(i.LastUsedAt) {
		fmt.Fprintf(w, T("Last Used: %s")+"\n", i.LastUsedAt.UTC().Format(layoutShort))
	}
	if active {
		fmt.Fprintln(w, "\n"+T("Resources:"))
		fmt.Fprintf(w, "  "+T("Processes: %d")+"\n", i.State.Processes)
		showUsage(w, i.State)
		showNetworks(w, i.State.Network)
	}
	if err := c.showSnapshots(i); err != nil {
		return err
	}
	if showLog {
		return c.instanceLog(server, name, i.Type)
	}
	return nil
}

func showUsage(w io.Writer, s *api.InstanceState) {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s.Disk)) {
		if usage := s.Disk[name].Usage; usage != 0 {
			lines = append(lines, fmt.Sprintf("    %s: %s\n", name, byteSizeIEC(usage, 2)))
		}
	}
	section(w, T("Disk usage:"), lines)
	lines = nil
	if s.CPU.Usage != 0 {
		lines = append(lines, fmt.Sprintf("    %s: %d\n", T("CPU usage (in seconds)"), s.CPU.Usage/1000000000))
	}
	section(w, T("CPU usage:"), lines)
	lines = nil
	for _, m := range []struct {
		name  string
		bytes int64
	}{
		{T("Memory (current)"), s.Memory.Usage}, {T("Memory (peak)"), s.Memory.UsagePeak},
		{T("Swap (current)"), s.Memory.SwapUsage}, {T("Swap (peak)"), s.Memory.SwapUsagePeak},
	} {
		if m.bytes != 0 {
			lines = append(lines, fmt.Sprintf("    %s: %s\n", m.name, byteSizeIEC(m.bytes, 2)))
		}
	}
	section(w, T("Memory usage:"), lines)
}

// section prints lines under a title, or nothing when there are none.
func section(w io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "  %s\n%s", title, strings.Join(lines, ""))
}

func showNetworks(w io.Writer, nics map[string]api.InstanceStateNetwork) {
	if len(nics) == 0 {
		return
	}
	fmt.Fprintln(w, "  "+T("Network usage:"))
	for _, name := range slices.Sorted(maps.Keys(nics)) {
		n := nics[name]
		fmt.Fprintf(w, "    %s:\n", name)
		fmt.Fprintf(w, "      %s: %s\n", T("Type"), n.Type)
		fmt.Fprintf(w, "      %s: %s\n", T("State"), strings.ToUpper(n.State))
		if n.HostName != "" {
			fmt.Fprintf(w, "      %s: %s\n", T("Host interface"), n.HostName)
		}
		if n.Hwaddr != "" {
			fmt.Fprintf(w, "      %s: %s\n", T("MAC address"), n.Hwaddr)
		}
		if n.Mtu != 0 {
			fmt.Fprintf(w, "      %s: %d\n", T("MTU"), n.Mtu)
		}
		fmt.Fprintf(w, "      %s: %s\n", T("Bytes received"), byteSize(n.Counters.BytesReceived, 2))
		fmt.Fprintf(w, "      %s: %s\n", T("Bytes sent"), byteSize(n.Counters.BytesSent, 2))
		fmt.Fprintf(w, "      %s: %d\n", T("Packets received"), n.Counters.PacketsReceived)
		fmt.Fprintf(w, "      %s: %d\n", T("Packets sent"), n.Counters.PacketsSent)
		fmt.Fprintf(w, "      %s:\n", T("IP addresses"))
		for _, a := range n.Addresses {
			fmt.Fprintf(w, "        %s:  %s/%s (%s)\n", a.Family, a.Address, a.Netmask, a.Scope)
		}
	}
}

func (c *App) showSnapshots(i *api.InstanceFull) error {
	if len(i.Snapshots) == 0 {
		return nil
	}
	rows := [][]string{}
	for _, s := range i.Snapshots {
		name := s.Name[strings.LastIndexByte(s.Name, '/')+1:]
		row := []string{name, "", "", T("NO")}
		if shownTime(s.CreatedAt) {
			row[1] = s.CreatedAt.UTC().Format(layoutShort)
		}
		if shownTime(s.ExpiresAt) {
			row[2] = s.ExpiresAt.UTC().Format(layoutShort)
		}
		if s.Stateful {
			row[3] = T("YES")
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(c.Out, "\n"+T("Snapshots:"))
	return c.printTable(formatTable, []string{T("NAME"), T("TAKEN AT"), T("EXPIRES AT"), T("STATEFUL")}, rows, nil)
}

func (c *App) instanceLog(server *client.Client, name, kind string) error {
	file := "lxc.log"
	if kind == string(api.InstanceTypeVM) {
		file = "qemu.log"
	}
	log, err := server.InstanceLog(name, file)
	if err != nil {
		return err
	}
	defer log.Close()
	text, err := io.ReadAll(log)
	if err != nil {
		return err
	}
	fmt.Fprintf(printableWriter{c.Out}, "\n%s\n\n%s\n", T("Log:"), text)
	return nil
}
