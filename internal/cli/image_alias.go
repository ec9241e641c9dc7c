package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) imageAliasCommand() *cobra.Command {
	return group("alias", T("Manage the names of images"),
		c.imageAliasCreateCommand(), c.imageAliasDeleteCommand(), c.imageAliasListCommand(), c.imageAliasRenameCommand())
}

func (c *App) imageAliasCreateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("create", "[<remote>:]<new-name> <fingerprint>"),
		Short: T("Give an image another name"),
		RunE: takes(2, 2, func(args []string) error {
			server, name, err := c.parse(args[0])
			if err != nil {
				return err
			}
			post := api.ImageAliasesPost{}
			post.Name, post.Target = name, args[1]
			return server.CreateImageAlias(post)
		}),
	}
}

func (c *App) imageAliasDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     usage("delete", "[<remote>:]<alias>"),
		Aliases: []string{"rm"},
		Short:   T("Take a name away from an image, which stays"),
		RunE: takes(1, 1, func(args []string) error {
			server, name, err := c.parse(args[0])
			if err != nil {
				return err
			}
			return server.DeleteImageAlias(name)
		}),
	}
}

func (c *App) imageAliasRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:     usage("rename", "[<remote>:]<alias> <new-name>"),
		Aliases: []string{"mv"},
		Short:   T("Change a name of an image"),
		RunE: takes(2, 2, func(args []string) error {
			server, name, err := c.parse(args[0])
			if err != nil {
				return err
			}
			return server.RenameImageAlias(name, api.ImageAliasesEntryPost{Name: args[1]})
		}),
	}
}

var imageAliasColumns = []column[api.ImageAliasesEntry]{
	{T("ALIAS"), func(a api.ImageAliasesEntry) string { return a.Name }},
	{T("FINGERPRINT"), func(a api.ImageAliasesEntry) string { return shortFingerprint(a.Target) }},
	{T("TYPE"), func(a api.ImageAliasesEntry) string {
		if a.Type == "" {
			return "CONTAINER"
		}
		return strings.ToUpper(a.Type)
	}},
	{T("DESCRIPTION"), func(a api.ImageAliasesEntry) string { return a.Description }},
}

func (c *App) imageAliasListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     usage("list", "[<remote>:] [<filters>...]"),
		Aliases: []string{"ls"},
		Short:   T("List names of images"),
		Long:    T(`A filter is a part of an image's fingerprint or of an alias.`),
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		remote, filters, err := c.remoteAndFilters(args)
		if err != nil {
			return err
		}
		server, err := c.server(remote)
		if err != nil {
			return err
		}
		all, err := server.ImageAliases()
		if err != nil {
			return err
		}
		shown := []api.ImageAliasesEntry{}
		for _, a := range all {
			if aliasShown(a, filters) {
				shown = append(shown, a)
			}
		}
		header, rows := tableOf(imageAliasColumns, shown)
		sortRows(rows)
		return c.printTable(*format, header, rows, shown)
	}
	return cmd
}

func aliasShown(a api.ImageAliasesEntry, filters []string) bool {
	for _, f := range filters {
		if !strings.Contains(a.Name, f) && !strings.Contains(a.Target, f) {
			return false
		}
	}
	return true
}
