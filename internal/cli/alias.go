package cli

import (
	"fmt"
	"sort"

	"github.com/spf13/cobra"
)

func (c *App) aliasCommand() *cobra.Command {
	return group("alias", T("Define your own commands"), c.aliasAddCommand(), c.aliasListCommand(), c.aliasRenameCommand(), c.aliasRemoveCommand())
}

func (c *App) aliasAddCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("add", "<new-name> <command line>"),
		Short: T("Define an alias of this client"),
		Example: examples(
			`berth alias add ll "list -c ns46S"`, T(`Make "berth ll" a list of fewer columns.`),
		),
		RunE: takes(2, 2, func(args []string) error {
			return c.conf.Change(func() error {
				if _, ok := c.conf.Aliases[args[0]]; ok {
					return fmt.Errorf(T("Alias %s already exists"), args[0])
				}
				c.conf.Aliases[args[0]] = args[1]
				return nil
			})
		}),
	}
}

func (c *App) aliasListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: T("List the aliases of this client")}
	format := formatFlag(cmd)
	cmd.RunE = takes(0, 0, func(args []string) error {
		rows := [][]string{}
		for k, v := range c.conf.Aliases {
			rows = append(rows, []string{k, v})
		}
		sort.Slice(rows, func(i, j int) bool { return rows[i][0] < rows[j][0] })
		return c.printTable(*format, []string{T("ALIAS"), T("TARGET")}, rows, c.conf.Aliases)
	})
	return cmd
}

func (c *App) aliasRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:     usage("rename", "<alias> <new-name>"),
		Aliases: []string{"mv"},
		Short:   T("Rename an alias"),
		RunE: takes(2, 2, func(args []string) error {
			return c.conf.Change(func() error {
				target, ok := c.conf.Aliases[args[0]]
				if !ok {
					return fmt.Errorf(T("Alias %s doesn't exist"), args[0])
				}
				if _, ok := c.conf.Aliases[args[1]]; ok {
					return fmt.Errorf(T("Alias %s already exists"), args[1])
				}
				delete(c.conf.Aliases, args[0])
				c.conf.Aliases[args[1]] = target
				return nil
			})
		}),
	}
}

func (c *App) aliasRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:     usage("remove", "<alias>"),
		Aliases: []string{"rm"},
		Short:   T("Remove an alias"),
		RunE: takes(1, 1, func(args []string) error {
			return c.conf.Change(func() error {
				if _, ok := c.conf.Aliases[args[0]]; !ok {
					return fmt.Errorf(T("Alias %s doesn't exist"), args[0])
				}
				delete(c.conf.Aliases, args[0])
				return nil
			})
		}),
	}
}
