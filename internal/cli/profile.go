package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) profileCommand() *cobra.Command {
	assign := c.simple("assign", "[<remote>:]<instance> <profiles>", T("Give an instance these profiles, in this order, and no others"), 2, 2, c.profileAssign)
	assign.Aliases = []string{"apply"}
	assign.Example = examples(
		"berth profile assign web default,fast", T("Give web the profiles default and fast; where both say something, fast counts."),
		"berth profile assign web ''", T("Take all profiles from web."),
	)
	remove := c.simple("delete", "[<remote>:]<profile>", T("Delete a profile"), 1, 1, c.profileDelete)
	remove.Aliases = []string{"rm"}
	rename := c.simple("rename", "[<remote>:]<profile> <new-name>", T("Rename a profile"), 2, 2, c.profileRename)
	rename.Aliases = []string{"mv"}
	keys := c.profileKeys()
	return group("profile", T("Manage sets of keys and devices that instances share"),
		c.simple("add", "[<remote>:]<instance> <profile>", T("Give an instance one more profile"), 2, 2, c.profileAdd),
		assign,
		c.profileCopyCommand(),
		c.simple("create", "[<remote>:]<new-name>", T("Make an empty profile"), 1, 1, c.profileCreate),
		remove,
		c.deviceCommand(profileDevices{}),
		c.simple("edit", "[<remote>:]<profile>", T("Change a profile in an editor"), 1, 1, c.profileEdit),
		c.simple("get", "[<remote>:]<profile> <key>", T("Print the value of a profile's key"), 2, 2, func(a []string) error { return keys.get(a[0], a[1]) }),
		c.profileListCommand(),
		c.simple("remove", "[<remote>:]<instance> <profile>", T("Take a profile from an instance"), 2, 2, c.profileRemove),
		rename,
		c.simple("set", "[<remote>:]<profile> <key>=<value>...", T("Give keys of a profile new values"), 2, -1, func(a []string) error { return c.keyedSet(keys, a) }),
		c.simple("show", "[<remote>:]<profile>", T("Print a profile as YAML"), 1, 1, c.profileShow),
		c.simple("unset", "[<remote>:]<profile> <key>", T("Take a key of a profile away"), 2, 2, func(a []string) error {
			return keys.change(a[0], func(m map[string]string) { delete(m, a[1]) })
		}),
	)
}

// simple makes a command without flags.
func (c *App) simple(name, args, short string, min, max int, run func(args []string) error) *cobra.Command {
	return &cobra.Command{
		Use:   usage(name, args),
		Short: short,
		RunE:  takes(min, max, run),
	}
}

// keyedSet sets key=value arguments on what the first argument names.
func (c *App) keyedSet(k keyed, args []string) error {
	values, err := c.keyValues(args[1:]...)
	if err != nil {
		return err
	}
	return k.change(args[0], func(m map[string]string) { maps.Copy(m, values) })
}

func (c *App) profileKeys() keyed {
	return keyed{c: c, load: func(server *client.Client, name string) (map[string]string, func(map[string]string) error, error) {
		p, etag, err := server.Profile(name)
		if err != nil {
			return nil, nil, err
		}
		return p.Config, func(m map[string]string) error {
			p.Config = m
			return server.UpdateProfile(name, p.ProfilePut, etag)
		}, nil
	}}
}

// say prints a sentence about what was done, unless --quiet.
func (c *App) say(format string, args ...any) {
	if !c.flagQuiet {
		fmt.Fprintf(printableWriter{c.Out}, format+"\n", args...)
	}
}

func (c *App) changeProfiles(raw string, change func(name string, profiles []string) ([]string, error)) (name string, err error) {
	server, name, err := c.named(raw, T("Missing instance name"))
	if err != nil {
		return "", err
	}
	i, etag, err := server.Instance(name)
	if err != nil {
		return "", err
	}
	if i.Profiles, err = change(name, i.Profiles); err != nil {
		return "", err
	}
	return name, c.waitStarted(server.UpdateInstance(name, i.InstancePut, etag))
}

func (c *App) profileAdd(args []string) error {
	name, err := c.changeProfiles(args[0], func(_ string, p []string) ([]string, error) { return append(p, args[1]), nil })
	if err != nil {
		return err
	}
	c.say(T("Profile %s added to %s"), args[1], name)
	return nil
}

func (c *App) profileRemove(args []string) error {
	name, err := c.changeProfiles(args[0], func(name string, p []string) ([]string, error) {
		at := slices.Index(p, args[1])
		if at < 0 {
			return nil, fmt.Errorf(T("Profile %s isn't currently applied to %s"), args[1], name)
		}
		return slices.Delete(p, at, at+1), nil
	})
	if err != nil {
		return err
	}
	c.say(T("Profile %s removed from %s"), args[1], name)
	return nil
}

func (c *App) profileAssign(args []string) error {
	shown := args[1]
	profiles := []string{}
	if shown == "" {
		shown = T("(none)")
	} else {
		profiles = strings.Split(args[1], ",")
	}
	name, err := c.changeProfiles(args[0], func(string, []string) ([]string, error) { return profiles, nil })
	if err != nil {
		return err
	}
	c.say(T("Profiles %s applied to %s"), shown, name)
	return nil
}

func (c *App) profileCreate(args []string) error {
	server, name, err := c.named(args[0], T("Missing profile name"))
	if err != nil {
		return err
	}
	if err := server.CreateProfile(api.ProfilesPost{Name: name}); err != nil {
		return err
	}
	c.say(T("Profile %s created"), name)
	return nil
}

func (c *App) profileDelete(args []string) error {
	server, name, err := c.named(args[0], T("Missing profile name"))
	if err != nil {
		return err
	}
	if err := server.DeleteProfile(name); err != nil {
		return err
	}
	c.say(T("Profile %s deleted"), name)
	return nil
}

func (c *App) profileRename(args []string) error {
	server, name, err := c.parse(args[0])
	if err != nil {
		return err
	}
	if err := server.RenameProfile(name, api.ProfilePost{Name: args[1]}); err != nil {
		return err
	}
	c.say(T("Profile %s renamed to %s"), name, args[1])
	return nil
}

func (c *App) profileShow(args []string) error {
	server, name, err := c.parse(args[0])
	if err != nil {
		return err
	}
	p, _, err := server.Profile(name)
	if err != nil {
		return err
	}
	return c.printYAML(p)
}

func (c *App) profileEdit(args []string) error {
	server, name, err := c.parse(args[0])
	if err != nil {
		return err
	}
	p, etag, err := server.Profile(name)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`The profile as YAML. Lines that begin with # are left out; so is a change of the name.

For example:
config:
  limits.memory: 1GiB
devices:
  eth0:
    type: nic
    network: berthbr0
  root:
    type: disk
    pool: default
    path: /`))
	return c.editYAML(help, p, func(data []byte) error {
		var put api.ProfilePut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return server.UpdateProfile(name, put, etag)
	})
}

func (c *App) profileListCommand() *cobra.Command {
	return c.listOf(T("List the profiles of a project"), func(server *client.Client, _ string) (header []string, rows [][]string, data any, err error) {
		profiles, err := server.Profiles()
		if err != nil {
			return nil, nil, nil, err
		}
		rows = [][]string{}
		for _, p := range profiles {
			rows = append(rows, []string{p.Name, p.Description, strconv.Itoa(len(p.UsedBy))})
		}
		sortRows(rows)
		return []string{T("NAME"), T("DESCRIPTION"), T("USED BY")}, rows, profiles, nil
	})
}

// first is the first argument, or nothing: the default remote.
func first(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return ""
}

func (c *App) profileCopyCommand() *cobra.Command {
	var project *string
	cmd := c.simple("copy", "[<remote>:]<profile> [<remote>:]<new-name>", T("Copy a profile, here or to another server"), 2, 2, func(args []string) error {
		from, name, err := c.parse(args[0])
		if err != nil {
			return err
		}
		to, newName, err := c.parse(args[1])
		if err != nil {
			return err
		}
		if newName == "" {
			newName = name
		}
		if *project != "" {
			to = to.UseProject(*project)
		}
		p, _, err := from.Profile(name)
		if err != nil {
			return err
		}
		return to.CreateProfile(api.ProfilesPost{ProfilePut: p.ProfilePut, Name: newName})
	})
	cmd.Aliases = []string{"cp"}
	project = cmd.Flags().String("target-project", "", T("Project to put the copy in")+"``")
	return cmd
}
