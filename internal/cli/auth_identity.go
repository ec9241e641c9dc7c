package cli

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// identity splits "remote:method/identifier" and connects to the remote.
func (c *App) identity(raw string) (server *client.Client, method, id string, err error) {
	server, name, err := c.parse(raw)
	if err != nil {
		return nil, "", "", err
	}
	method, id, ok := strings.Cut(name, "/")
	if !ok || id == "" {
		return nil, "", "", fmt.Errorf(T("Malformed argument %q: <authentication_method>/<name_or_identifier> is needed"), name)
	}
	return server, method, id, nil
}

func (c *App) authIdentityCommand() *cobra.Command {
	const one = "[<remote>:]<authentication_method>/<name_or_identifier>"
	show := c.simple("show", one, T("Print an identity as YAML"), 1, 1, func(args []string) error {
		server, method, id, err := c.identity(args[0])
		if err != nil {
			return err
		}
		i, _, err := server.Identity(method, id)
		if err != nil {
			return err
		}
		return c.printYAML(i)
	})
	info := c.simple("info", "[<remote>:]", T("Print the identity that a server knows this client by, with what it may do"), 0, 1, func(args []string) error {
		server, _, err := c.parse(first(args))
		if err != nil {
			return err
		}
		i, err := server.CurrentIdentity()
		if err != nil {
			return err
		}
		return c.printYAML(i)
	})
	remove := c.simple("delete", one, T("Delete an identity"), 1, 1, func(args []string) error {
		server, method, id, err := c.identity(args[0])
		if err == nil {
			err = server.DeleteIdentity(method, id)
		}
		if err == nil {
			c.say(T("Identity %s deleted"), method+"/"+id)
		}
		return err
	})
	remove.Aliases = []string{"rm"}
	list := c.listOf(T("List who may be authenticated"), func(server *client.Client, _ string) ([]string, [][]string, any, error) {
		identities, err := server.Identities()
		rows := [][]string{}
		for _, i := range identities {
			rows = append(rows, []string{i.AuthenticationMethod, i.Type, i.Name, i.Identifier, strings.Join(i.Groups, "\n")})
		}
		return []string{T("AUTHENTICATION METHOD"), T("TYPE"), T("NAME"), T("IDENTIFIER"), T("GROUPS")}, rows, identities, err
	})
	add := c.simple("add", one+" <group>", T("Put an identity into a group"), 2, 2, func(args []string) error { return c.regroup(args, true) })
	take := c.simple("remove", one+" <group>", T("Take an identity out of a group"), 2, 2, func(args []string) error { return c.regroup(args, false) })
	take.Aliases = []string{"rm"}
	return group("identity", T("Manage who may be authenticated"), c.identityCreateCommand(), remove,
		c.simple("edit", one, T("Change an identity in an editor"), 1, 1, c.identityEdit),
		group("group", T("Manage the groups of an identity"), add, take), info, list, show)
}

func (c *App) identityEdit(args []string) error {
	server, method, id, err := c.identity(args[0])
	if err != nil {
		return err
	}
	i, etag, err := server.Identity(method, id)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`The identity as YAML. Lines that begin with # are left out; only groups and tls_certificate can be changed.`))
	return c.editYAML(help, i, func(data []byte) error {
		var put api.IdentityPut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return server.UpdateIdentity(method, i.Identifier, put, etag)
	})
}

// regroup puts an identity into a group or takes it out.
func (c *App) regroup(args []string, add bool) error {
	server, method, id, err := c.identity(args[0])
	if err != nil {
		return err
	}
	i, etag, err := server.Identity(method, id)
	if err != nil {
		return err
	}
	groups, err := withGroup(i.Groups, args[1], add)
	if err != nil {
		return fmt.Errorf("%s: %w", method+"/"+id, err)
	}
	return server.UpdateIdentity(method, i.Identifier, api.IdentityPut{Groups: groups, TLSCertificate: i.TLSCertificate}, etag)
}

func withGroup(groups []string, name string, add bool) ([]string, error) {
	at := slices.Index(groups, name)
	switch {
	case add && at >= 0:
		return nil, fmt.Errorf(T("group %s is there already"), name)
	case add:
		return append(groups, name), nil
	case at < 0:
		return nil, fmt.Errorf(T("group %s is not there"), name)
	}
	return slices.Delete(groups, at, at+1), nil
}

func (c *App) identityCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("create", "[<remote>:]tls/<name> [<cert>]"), Short: T("Let a client in whose rights come of groups, by its certificate or by a token for it"),
	}
	groups := cmd.Flags().StringArrayP("group", "g", nil, T("Group to put it into; may be given more than once")+"``")
	cmd.RunE = takes(1, 2, func(args []string) error {
		server, method, name, err := c.identity(args[0])
		if err != nil {
			return err
		}
		if method != api.AuthTLS {
			return fmt.Errorf(T("Identities of method %q cannot be created"), method)
		}
		post := api.IdentitiesTLSPost{Name: name, Groups: *groups}
		if len(args) == 1 {
			token, err := server.CreateIdentityTLSToken(post)
			if err != nil {
				return err
			}
			if !c.flagQuiet {
				fmt.Fprintf(c.Out, T("TLS identity %q pending identity token:")+"\n", name)
			}
			fmt.Fprintln(c.Out, token.String())
			return nil
		}
		data, err := c.readCert(args[1])
		if err != nil {
			return err
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return errors.New(T("Invalid certificate"))
		}
		post.Certificate = base64.StdEncoding.EncodeToString(block.Bytes)
		if err := server.CreateIdentityTLS(post); err != nil {
			return err
		}
		c.say(T("TLS identity %q created"), name)
		return nil
	})
	return cmd
}

func (c *App) providerGroupCommand() *cobra.Command {
	const one = "[<remote>:]<identity_provider_group>"
	missing := T("Missing identity provider group name")
	create := &cobra.Command{Use: usage("create", "[<remote>:]<new-name>"), Short: T("Have a group of the identity provider stand for groups")}
	groups := create.Flags().StringArrayP("group", "g", nil, T("Group that it stands for; may be given more than once")+"``")
	create.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.named(args[0], missing)
		if err == nil {
			err = server.CreateProviderGroup(api.IdentityProviderGroup{Name: name, Groups: *groups})
		}
		if err == nil {
			c.say(T("Identity provider group %s created"), name)
		}
		return err
	})
	remove := c.simple("delete", one, T("Have a group of the identity provider stand for nothing"), 1, 1, func(args []string) error {
		server, name, err := c.named(args[0], missing)
		if err == nil {
			err = server.DeleteProviderGroup(name)
		}
		if err == nil {
			c.say(T("Identity provider group %s deleted"), name)
		}
		return err
	})
	remove.Aliases = []string{"rm"}
	rename := c.simple("rename", one+" <new-name>", T("Have another group of the identity provider stand for the same"), 2, 2, func(args []string) error {
		server, name, err := c.named(args[0], missing)
		if err == nil {
			err = server.RenameProviderGroup(name, args[1])
		}
		if err == nil {
			c.say(T("Identity provider group %s renamed to %s"), name, args[1])
		}
		return err
	})
	rename.Aliases = []string{"mv"}
	show := c.simple("show", one, T("Print what a group of the identity provider stands for as YAML"), 1, 1, func(args []string) error {
		server, name, err := c.named(args[0], missing)
		if err != nil {
			return err
		}
		g, _, err := server.ProviderGroup(name)
		if err != nil {
			return err
		}
		return c.printYAML(g)
	})
	list := c.listOf(T("List what groups of the identity provider stand for"), func(server *client.Client, _ string) ([]string, [][]string, any, error) {
		all, err := server.ProviderGroups()
		rows := [][]string{}
		for _, g := range all {
			rows = append(rows, []string{g.Name, strings.Join(g.Groups, "\n")})
		}
		return []string{T("NAME"), T("GROUPS")}, rows, all, err
	})
	regroup := func(args []string, add bool) error {
		server, name, err := c.named(args[0], missing)
		if err != nil {
			return err
		}
		g, etag, err := server.ProviderGroup(name)
		if err != nil {
			return err
		}
		next, err := withGroup(g.Groups, args[1], add)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return server.UpdateProviderGroup(name, api.IdentityProviderGroupPut{Groups: next}, etag)
	}
	add := c.simple("add", one+" <group>", T("Have it stand for one more group"), 2, 2, func(args []string) error { return regroup(args, true) })
	take := c.simple("remove", one+" <group>", T("Have it stand for one group less"), 2, 2, func(args []string) error { return regroup(args, false) })
	take.Aliases = []string{"rm"}
	edit := c.simple("edit", one, T("Change what it stands for in an editor"), 1, 1, func(args []string) error { return c.providerGroupEdit(args[0]) })
	cmd := group("identity-provider-group", T("Manage what groups of the identity provider stand for"), create, remove, edit,
		group("group", T("Manage the groups that it stands for"), add, take), list, rename, show)
	cmd.Aliases = []string{"idp-group"}
	return cmd
}

func (c *App) providerGroupEdit(raw string) error {
	server, name, err := c.named(raw, T("Missing identity provider group name"))
	if err != nil {
		return err
	}
	g, etag, err := server.ProviderGroup(name)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`What the group of the identity provider stands for, as YAML. Lines that begin with # are left out; so is a change of the name.`))
	return c.editYAML(help, g, func(data []byte) error {
		var put api.IdentityProviderGroupPut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return server.UpdateProviderGroup(name, put, etag)
	})
}
