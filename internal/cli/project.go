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

func (c *App) projectCommand() *cobra.Command {
	keys := c.projectKeys()
	remove := c.simple("delete", "[<remote>:]<project>", T("Delete a project"), 1, 1, c.projectDelete)
	remove.Aliases = []string{"rm"}
	rename := c.simple("rename", "[<remote>:]<project> <new-name>", T("Rename a project"), 2, 2, c.projectRename)
	rename.Aliases = []string{"mv"}
	var config *[]string
	create := c.simple("create", "[<remote>:]<new-name>", T("Make a project"), 1, 1, func(a []string) error { return c.projectCreate(a[0], *config) })
	config = create.Flags().StringArrayP("config", "c", nil, T("key=value to set on the project; may be repeated")+"``")
	return group("project", T("Manage projects, which keep sets of instances apart"),
		create,
		remove,
		c.simple("edit", "[<remote>:]<project>", T("Change a project in an editor"), 1, 1, c.projectEdit),
		c.simple("get", "[<remote>:]<project> <key>", T("Print the value of a project's key"), 2, 2, func(a []string) error { return keys.get(a[0], a[1]) }),
		c.projectInfoCommand(),
		c.projectListCommand(),
		rename,
		c.simple("set", "[<remote>:]<project> <key>=<value>...", T("Give keys of a project new values"), 2, -1, func(a []string) error { return c.keyedSet(keys, a) }),
		c.simple("show", "[<remote>:]<project>", T("Print a project as YAML"), 1, 1, c.projectShow),
		c.simple("switch", "[<remote>:]<project>", T("Choose the project that commands mean by default"), 1, 1, c.projectSwitch),
		c.simple("unset", "[<remote>:]<project> <key>", T("Take a key of a project away"), 2, 2, func(a []string) error {
			return keys.change(a[0], func(m map[string]string) { delete(m, a[1]) })
		}),
	)
}

func (c *App) projectKeys() keyed {
	return keyed{c: c, load: func(server *client.Client, name string) (map[string]string, func(map[string]string) error, error) {
		if name == "" {
			return nil, nil, errors.New(T("Missing project name"))
		}
		p, etag, err := server.ProjectByName(name)
		if err != nil {
			return nil, nil, err
		}
		return p.Config, func(m map[string]string) error {
			p.Config = m
			return server.UpdateProject(name, p.ProjectPut, etag)
		}, nil
	}}
}

// parseProject is parse for commands that need a project's name.
func (c *App) parseProject(raw string) (*client.Client, string, error) {
	return c.named(raw, T("Missing project name"))
}

func (c *App) projectCreate(raw string, config []string) error {
	server, name, err := c.parseProject(raw)
	if err != nil {
		return err
	}
	values, err := configFlags(config)
	if err != nil {
		return err
	}
	if err := server.CreateProject(api.ProjectsPost{Name: name, ProjectPut: api.ProjectPut{Config: values}}); err != nil {
		return err
	}
	c.say(T("Project %s created"), name)
	return nil
}

func (c *App) projectDelete(args []string) error {
	server, name, err := c.parseProject(args[0])
	if err != nil {
		return err
	}
	if err := server.DeleteProject(name); err != nil {
		return err
	}
	c.say(T("Project %s deleted"), name)
	return c.follow(args[0], name, "")
}

// follow takes whoever stands in a project that is gone to where it is now; "" is the default one.
func (c *App) follow(raw, name, to string) error {
	remote, _, err := c.parseRemote(raw)
	if err != nil {
		return err
	}
	if c.conf.Remotes[remote].Project != name {
		return nil
	}
	return c.conf.Change(func() error {
		if r := c.conf.Remotes[remote]; r.Project == name {
			r.Project = to
			c.conf.Remotes[remote] = r
		}
		return nil
	})
}

func (c *App) projectRename(args []string) error {
	server, name, err := c.parseProject(args[0])
	if err != nil {
		return err
	}
	if err := c.waitStarted(server.RenameProject(name, api.ProjectPost{Name: args[1]})); err != nil {
		return err
	}
	c.say(T("Project %s renamed to %s"), name, args[1])
	return c.follow(args[0], name, args[1])
}

func (c *App) projectShow(args []string) error {
	server, name, err := c.parseProject(args[0])
	if err != nil {
		return err
	}
	p, _, err := server.ProjectByName(name)
	if err != nil {
		return err
	}
	return c.printYAML(p)
}

func (c *App) projectEdit(args []string) error {
	server, name, err := c.parseProject(args[0])
	if err != nil {
		return err
	}
	p, etag, err := server.ProjectByName(name)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`The project as YAML. Lines that begin with # are left out; so is a change of the name.

For example:
config:
  features.images: "true"
  features.profiles: "false"
description: the web shop, on the default profiles`))
	return c.editYAML(help, p, func(data []byte) error {
		var put api.ProjectPut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return server.UpdateProject(name, put, etag)
	})
}

func (c *App) projectSwitch(args []string) error {
	remote, name, err := c.parseRemote(args[0])
	if err != nil {
		return err
	}
	server, name, err := c.parseProject(remote + ":" + name)
	if err != nil {
		return err
	}
	if _, _, err := server.ProjectByName(name); err != nil {
		return err
	}
	return c.conf.Change(func() error {
		r, ok := c.conf.Remotes[remote]
		if !ok { // it was taken away while the server was asked
			return fmt.Errorf(T("Remote %s doesn't exist"), remote)
		}
		r.Project = name
		c.conf.Remotes[remote] = r
		return nil
	})
}

func (c *App) projectListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("list", "[<remote>:]"), Aliases: []string{"ls"},
		Short: T("List the projects of a server"),
	}
	format := formatFlag(cmd)
	cmd.RunE = takes(0, 1, func(args []string) error {
		remote, _, err := c.parseRemote(first(args))
		if err != nil {
			return err
		}
		server, err := c.server(remote)
		if err != nil {
			return err
		}
		projects, err := server.Projects()
		if err != nil {
			return err
		}
		current := c.currentProject(remote)
		rows := [][]string{}
		for _, p := range projects {
			name := p.Name
			if name == current {
				name += " (" + T("current") + ")"
			}
			rows = append(rows, []string{name, yesNo(p.Config["features.images"]), yesNo(p.Config["features.profiles"]),
				yesNo(p.Config["features.storage.volumes"]), yesNo(p.Config["features.networks"]), p.Description, strconv.Itoa(len(p.UsedBy))})
		}
		sortRows(rows)
		header := []string{T("NAME"), T("IMAGES"), T("PROFILES"), T("STORAGE VOLUMES"), T("NETWORKS"), T("DESCRIPTION"), T("USED BY")}
		return c.printTable(*format, header, rows, projects)
	})
	return cmd
}

// yesNo shows a boolean value of a configuration.
func yesNo(value string) string {
	switch strings.ToLower(value) {
	case "true", "1", "yes", "on":
		return T("YES")
	}
	return T("NO")
}

func (c *App) projectInfoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("info", "[<remote>:]<project>"),
		Short: T("Tell how much of its limits a project uses"),
	}
	format := formatFlag(cmd)
	cmd.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.parseProject(args[0])
		if err != nil {
			return err
		}
		state, err := server.ProjectState(name)
		if err != nil {
			return err
		}
		rows := [][]string{}
		for kind, r := range state.Resources {
			show := func(n int64) string { return strconv.FormatInt(n, 10) }
			if kind == "disk" || kind == "memory" {
				show = func(n int64) string { return byteSizeIEC(n, 2) }
			}
			limit := T("UNLIMITED")
			if r.Limit >= 0 {
				limit = show(r.Limit)
			}
			rows = append(rows, []string{strings.ToUpper(kind), limit, show(r.Usage)})
		}
		sort.Slice(rows, func(i, j int) bool { return rows[i][0] < rows[j][0] })
		return c.printTable(*format, []string{T("RESOURCE"), T("LIMIT"), T("USAGE")}, rows, state)
	})
	return cmd
}
