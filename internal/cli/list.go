package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

const (
	listColumns     = "ns46tSL"
	listColumnsFast = "nsacPt"
)

type listCmd struct {
	c           *App
	columns     string
	fast        bool
	allProjects bool
	format      string
}

func (c *App) listCommand() *cobra.Command {
	l := &listCmd{c: c}
	cmd := &cobra.Command{
		Use:     usage("list", "[<remote>:] [<filter>...]"),
		Aliases: []string{"ls"},
		Short:   T("List instances"),
		Long:    describe(T("List instances"), T(listHelp)),
		Example: T(`  berth list -c nFs46,volatile.eth0.hwaddr:MAC,config:image.os,devices:eth0.parent:ETHP
    Show name, image, state and addresses, and three columns made from configuration and device keys.

  berth list -c ns,user.comment:comment
    List instances with their state and a comment of the user.`),
		RunE: l.run,
	}
	f := cmd.Flags()
	f.StringVarP(&l.columns, "columns", "c", listColumns, T("Columns")+"``")
	f.StringVarP(&l.format, "format", "f", formatTable, T("Format (csv|json|table|yaml|compact)")+"``")
	f.BoolVar(&l.fast, "fast", false, T("Fast mode (same as --columns=nsacPt)"))
	f.BoolVar(&l.allProjects, "all-projects", false, T("Display instances from all projects"))
	return cmd
}

const listHelp = `Default column layout: ns46tS
Fast column layout: nsacPt

Filters:
  web                        instances whose name starts with "web"
  .*web.*01$                 a regular expression on the name
  user.blah=abc, u.blah=abc  instances with that value; namespaces can be shortened
  type=container             short for properties: type, status, architecture, location, ipv4, ipv6;
                             several values are separated by commas, addresses may be CIDR ranges
Several filters must all match.

Columns are shorthand characters, or configuration keys separated by commas:
  4 - IPv4 address
  6 - IPv6 address
  a - Architecture
  b - Storage pool
  c - Creation date
  d - Description
  D - disk usage
  e - Project name
  f - Base Image Fingerprint (short)
  F - Base Image Fingerprint (long)
  l - Last used date
  L - Location of the instance (e.g. its cluster member)
  m - Memory usage
  M - Memory usage (%)
  n - Name
  N - Number of Processes
  p - PID of the instance's init process
  P - Profiles
  s - State
  S - Number of snapshots
  t - Type (persistent or ephemeral)
  u - CPU usage (in seconds)

A key is "[config:|devices:]key[:name][:maxWidth]": name is the header (the key itself if empty), maxWidth cuts longer
values (0: to the header's width, -1: never).`

func (l *listCmd) run(cmd *cobra.Command, args []string) error {
	remote, filters, err := l.remoteAndFilters(args)
	if err != nil {
		return err
	}
	server, err := l.c.server(remote)
	if err != nil {
		return err
	}
	columns, err := l.parsedColumns(cmd, server)
	if err != nil {
		return err
	}
	match, err := parseInstanceFilters(filters)
	if err != nil {
		return err
	}
	instances, err := l.fetch(server, columns)
	if err != nil {
		return err
	}
	kept := make([]*api.InstanceFull, 0, len(instances))
	for i := range instances {
		if match.matches(&instances[i]) {
			kept = append(kept, &instances[i])
		}
	}
	plain := make([]column[*api.InstanceFull], 0, len(columns))
	for _, col := range columns {
		plain = append(plain, col.column)
	}
	header, rows := tableOf(plain, kept)
	sortRows(rows)
	return l.c.printTable(l.format, header, rows, kept)
}

// remoteAndFilters takes "remote:" from the first argument; what follows the colon is a filter too.
func (l *listCmd) remoteAndFilters(args []string) (remote string, filters []string, err error) {
	if len(args) == 0 {
		remote, _, err = l.c.parseRemote("")
		return remote, nil, err
	}
	first := args[0]
	if strings.Contains(first, "=") || !strings.Contains(first, ":") {
		remote, _, err = l.c.parseRemote("")
		return remote, args, err
	}
	remote, name, err := l.c.parseRemote(first)
	if err != nil {
		return "", nil, err
	}
	if name != "" {
		filters = append(filters, name)
	}
	return remote, append(filters, args[1:]...), nil
}

func (l *listCmd) parsedColumns(cmd *cobra.Command, server *client.Client) ([]listColumn, error) {
	spec := l.columns
	given := cmd.Flags().Changed("columns")
	if l.fast {
		if given {
			return nil, errors.New(T("Can't specify --fast with --columns"))
		}
		spec = listColumnsFast
	}
	if strings.ContainsAny(spec, "L") && !given {
		info, _, err := server.Server()
		if err != nil {
			return nil, err
		}
		if !info.Environment.ServerClustered {
			spec = strings.ReplaceAll(spec, "L", "")
		}
	}
	if l.allProjects && !given {
		spec = "e" + spec
	}
	columns, err := parseListColumns(spec)
	if err != nil {
		return nil, err
	}
	if given && usesLocation(columns) {
		info, _, err := server.Server()
		if err != nil {
			return nil, err
		}
		if !info.Environment.ServerClustered {
			return nil, errors.New(T("Can't specify column L when not clustered"))
		}
	}
	return columns, nil
}

func usesLocation(columns []listColumn) bool {
	for _, c := range columns {
		if c.name == T("LOCATION") {
			return true
		}
	}
	return false
}

// fetch asks for state and snapshots only when something shows them.
func (l *listCmd) fetch(server *client.Client, columns []listColumn) ([]api.InstanceFull, error) {
	full := l.format == formatJSON || l.format == formatYAML
	for _, c := range columns {
		full = full || c.needsState
	}
	if full {
		if l.allProjects {
			return server.InstancesFullAllProjects()
		}
		return server.InstancesFull()
	}
	list := server.Instances
	if l.allProjects {
		list = server.InstancesAllProjects
	}
	plain, err := list()
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	out := make([]api.InstanceFull, len(plain))
	for i := range plain {
		out[i].Instance = plain[i]
	}
	return out, nil
}
