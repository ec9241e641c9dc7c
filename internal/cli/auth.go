package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) authCommand() *cobra.Command {
	return group("auth", T("Manage who may do what, by groups"), c.authGroupCommand(), c.authIdentityCommand(), c.providerGroupCommand(),
		group("permission", T("Look at what can be granted"), c.permissionListCommand()))
}

func (c *App) authGroupCommand() *cobra.Command {
	create := &cobra.Command{Use: usage("create", "[<remote>:]<new-name>"), Short: T("Make a group")}
	description := create.Flags().StringP("description", "d", "", T("What the group is for")+"``")
	create.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.named(args[0], T("Missing group name"))
		if err != nil {
			return err
		}
		post := api.AuthGroupsPost{Name: name, AuthGroupPut: api.AuthGroupPut{Description: *description}}
		if err := server.CreateAuthGroup(post); err != nil {
			return err
		}
		c.say(T("Group %s created"), name)
		return nil
	})
	remove := c.simple("delete", "[<remote>:]<group>", T("Delete a group"), 1, 1, func(args []string) error {
		server, name, err := c.named(args[0], T("Missing group name"))
		if err == nil {
			err = server.DeleteAuthGroup(name)
		}
		if err == nil {
			c.say(T("Group %s deleted"), name)
		}
		return err
	})
	remove.Aliases = []string{"rm"}
	rename := c.simple("rename", "[<remote>:]<group> <new-name>", T("Rename a group"), 2, 2, func(args []string) error {
		server, name, err := c.named(args[0], T("Missing group name"))
		if err == nil {
			err = server.RenameAuthGroup(name, args[1])
		}
		if err == nil {
			c.say(T("Group %s renamed to %s"), name, args[1])
		}
		return err
	})
	rename.Aliases = []string{"mv"}
	show := c.simple("show", "[<remote>:]<group>", T("Print a group as YAML"), 1, 1, func(args []string) error {
		server, name, err := c.named(args[0], T("Missing group name"))
		if err != nil {
			return err
		}
		g, _, err := server.AuthGroup(name)
		if err != nil {
			return err
		}
		return c.printYAML(g)
	})
	list := c.listOf(T("List the groups"), func(server *client.Client, _ string) ([]string, [][]string, any, error) {
		groups, err := server.AuthGroups()
		rows := [][]string{}
		for _, g := range groups {
			rows = append(rows, []string{g.Name, g.Description})
		}
		return []string{T("NAME"), T("DESCRIPTION")}, rows, groups, err
	})
	const use = "[<remote>:]<group> <entity_type> [<entity_name>] <entitlement> [<key>=<value>...]"
	add := c.simple("add", use, T("Let a group do something"), 3, -1, func(args []string) error { return c.changePermission(args, true) })
	add.Example = examples(
		"berth auth group permission add admins server admin", T("Let admins do everything."),
		"berth auth group permission add team project blue operator", T("Let team use project blue."),
		"berth auth group permission add team instance c1 user project=blue", T("Let team use instance c1 of project blue."),
	)
	take := c.simple("remove", use, T("Let a group do something no longer"), 3, -1, func(args []string) error { return c.changePermission(args, false) })
	take.Aliases = []string{"rm"}
	edit := c.simple("edit", "[<remote>:]<group>", T("Change a group in an editor"), 1, 1, c.authGroupEdit)
	return group("group", T("Manage groups"), create, remove, edit, list, group("permission", T("Manage what a group may do"), add, take), rename, show)
}

func (c *App) authGroupEdit(args []string) error {
	server, name, err := c.named(args[0], T("Missing group name"))
	if err != nil {
		return err
	}
	g, etag, err := server.AuthGroup(name)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`The group as YAML. Lines that begin with # are left out; so are changes of the name, the identities and the identity provider's groups.`))
	return c.editYAML(help, g, func(data []byte) error {
		var put api.AuthGroupPut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return server.UpdateAuthGroup(name, put, etag)
	})
}

// changePermission adds a permission to a group or takes it away.
func (c *App) changePermission(args []string, add bool) error {
	server, name, err := c.named(args[0], T("Missing group name"))
	if err != nil {
		return err
	}
	p, err := permissionOf(args[1:])
	if err != nil {
		return err
	}
	g, etag, err := server.AuthGroup(name)
	if err != nil {
		return err
	}
	at := slices.Index(g.Permissions, p)
	switch {
	case add && at >= 0:
		return fmt.Errorf(T("Group %s already has entitlement %q on %s"), name, p.Entitlement, p.EntityReference)
	case add:
		g.Permissions = append(g.Permissions, p)
	case at < 0:
		return fmt.Errorf(T("Group %s does not have entitlement %q on %s"), name, p.Entitlement, p.EntityReference)
	default:
		g.Permissions = slices.Delete(g.Permissions, at, at+1)
	}
	return server.UpdateAuthGroup(name, api.AuthGroupPut{Description: g.Description, Permissions: g.Permissions}, etag)
}

// permissionOf is the permission that arguments name: a type, a name unless it is of the server, an entitlement, and what else it takes to find
// the object.
func permissionOf(args []string) (api.Permission, error) {
	plain, more := []string{}, map[string]string{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		switch {
		case !ok || len(plain) < 2:
			plain = append(plain, a)
		case !slices.Contains([]string{"project", "pool", "type"}, key):
			return api.Permission{}, fmt.Errorf(T("Invalid key %q: project, pool and type are allowed"), key)
		default:
			more[key] = value
		}
	}
	want := 3
	if plain[0] == "server" {
		want = 2
	}
	if len(plain) != want {
		return api.Permission{}, fmt.Errorf(T("An entity type, %d names and an entitlement are needed"), want-2)
	}
	p := api.Permission{EntityType: plain[0], Entitlement: plain[want-1], EntityReference: "/1.0"}
	if want == 2 {
		return p, nil
	}
	var err error
	p.EntityReference, err = client.EntityURL(plain[0], plain[1], more)
	return p, err
}

func (c *App) permissionListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("list", "[<remote>:] [project=<project_name>] [entity_type=<entity_type>]"), Aliases: []string{"ls"}, Short: T("List what can be granted, and to whom it is"),
	}
	most := cmd.Flags().Int("max-entitlements", 3, T("Most of the entitlements to show that nobody has; 0: all")+"``")
	format := formatFlag(cmd)
	cmd.RunE = takes(0, 3, func(args []string) error {
		remote, of := "", map[string]string{}
		for n, a := range args {
			key, value, ok := strings.Cut(a, "=")
			switch {
			case n == 0 && !ok:
				remote = a
			case key == "project" || key == "entity_type":
				of[key] = value
			default:
				return fmt.Errorf(T("Invalid filter %q: project= and entity_type= are allowed"), a)
			}
		}
		server, _, err := c.parse(remote)
		if err != nil {
			return err
		}
		list, err := server.Permissions(of["entity_type"], of["project"])
		if err != nil {
			return err
		}
		return c.printTable(*format, []string{T("ENTITY TYPE"), T("URL"), T("ENTITLEMENTS ==> (GROUPS)")}, permissionRows(list, *most), list)
	})
	return cmd
}

// permissionRows are a row for each object: the entitlements that groups have, then the first of the others.
func permissionRows(list []api.PermissionInfo, most int) [][]string {
	rows := [][]string{}
	for begin := 0; begin < len(list); {
		end := begin
		var granted, free []string
		for ; end < len(list) && list[end].EntityReference == list[begin].EntityReference; end++ {
			if p := list[end]; len(p.Groups) > 0 {
				granted = append(granted, p.Entitlement+" ==> ("+strings.Join(p.Groups, ", ")+")")
			} else {
				free = append(free, p.Entitlement)
			}
		}
		if most > 0 && len(free) > most {
			free = append(free[:most], "… "+strconv.Itoa(len(free)-most)+" "+T("more"))
		}
		rows = append(rows, []string{list[begin].EntityType, list[begin].EntityReference, strings.Join(append(granted, free...), "\n")})
		begin = end
	}
	return rows
}
