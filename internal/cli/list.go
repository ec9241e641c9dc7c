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
	format      *string
}

func (c *App) listCommand() *cobra.Command {
	l := &listCmd{c: c}
	cmd := &cobra.Command{
		Use:     usage("list", "[<remote>:] [<filter>...]"),
		Aliases: []string{"ls"},
		Short:   T("List the instances of a project"),
		Long:    T(listHelp),
		Example: examples(
			"berth list status=running -c n4m", T("List those that run, with their IPv4 addresses and the memory they use."),
			"berth list -c ns,limits.memory:LIMIT,devices:root.pool:POOL", T("List name and state, and two columns made of a key and of a device's key."),
		),
		RunE: l.run,
	}
	f := cmd.Flags()
	f.StringVarP(&l.columns, "columns", "c", listColumns, T("Columns")+"``")
	l.format = formatFlag(cmd)
	f.BoolVar(&l.fast, "fast", false, T("Leave out columns that cost time: the same as --columns="+listColumnsFast))
	f.BoolVar(&l.allProjects, "all-projects", false, T("List the instances of all projects"))
	return cmd
}

const listHelp = `The columns are ` + listColumns + ` (L in a cluster alone), or ` + listColumnsFast + ` with --fast, unless -c names others.

Filters:
  web                         names that begin with "web"
  ^(web|db)-.*                a regular expression; without ^ and $ it covers the whole name
  user.team=blue, u.team=blue a key and its value, which is a regular expression; its first part can be shortened
  status=running,frozen       what an instance is: type, status, architecture, location, ipv4, ipv6; with commas
                              between values, and subnets for addresses
Of several filters all must match.

Columns are letters, and configuration keys with commas around them:
  4 - its IPv4 addresses
  6 - its IPv6 addresses
  a - architecture
  b - storage pool of the root disk
  c - when it was made
  d - description
  D - disk space it takes
  e - project
  f - first 12 digits of its image's fingerprint
  F - whole fingerprint of its image
  l - when it was last started
  L - cluster member it is on
  m - memory it uses
  M - memory it uses, as a share of its limit
  n - name
  N - how many processes run in it
  p - PID of its init on the host
  P - profiles
  s - state
  S - how many snapshots it has
  t - container or virtual machine, and whether it is ephemeral
  u - seconds of CPU time it has used

A key is written [config:|devices:]KEY[:HEADER][:WIDTH]. Values longer than WIDTH are cut (0: to the width of the
header, -1: never).`

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
	wanted := parseInstanceFilters(filters)
	instances, err := l.fetch(server, columns, wanted.needsState)
	if err != nil {
		return err
	}
	kept := make([]*api.InstanceFull, 0, len(instances))
	for i := range instances {
		if wanted.match(&instances[i]) {
			kept = append(kept, &instances[i])
		}
	}
	plain := make([]column[*api.InstanceFull], 0, len(columns))
	for _, col := range columns {
		plain = append(plain, col.column)
	}
	header, rows := tableOf(plain, kept)
	sortRows(rows)
	return l.c.printTable(*l.format, header, rows, kept)
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

// fetch asks for state and snapshots only when something shows them or goes by them.
func (l *listCmd) fetch(server *client.Client, columns []listColumn, needsState bool) ([]api.InstanceFull, error) {
	full := needsState || *l.format == formatJSON || *l.format == formatYAML
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
