package cli

import (
	"errors"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

const warningColumns = "utSscpLl"

func (c *App) warningCommand() *cobra.Command {
	ack := c.simple("acknowledge", "[<remote>:]<warning-uuid>", T("Mark a warning as seen"), 1, 1, func(args []string) error {
		server, id, err := c.parse(args[0])
		if err != nil {
			return err
		}
		return server.UpdateWarning(id, api.WarningPut{Status: "acknowledged"}, "")
	})
	ack.Aliases = []string{"ack"}
	show := c.simple("show", "[<remote>:]<warning-uuid>", T("Print a warning as YAML"), 1, 1, func(args []string) error {
		server, id, err := c.parse(args[0])
		if err != nil {
			return err
		}
		w, _, err := server.Warning(id)
		if err != nil {
			return err
		}
		return c.printYAML(w)
	})
	return group("warning", T("Look at the warnings of a server"), ack, c.warningDeleteCommand(), c.warningListCommand(), show)
}

func (c *App) warningDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("delete", "[<remote>:]<warning-uuid>"), Aliases: []string{"rm"},
		Short: T("Delete a warning"),
	}
	all := cmd.Flags().BoolP("all", "a", false, T("Delete every warning"))
	cmd.RunE = takes(0, 1, func(args []string) error {
		server, id, err := c.parse(first(args))
		if err != nil {
			return err
		}
		if !*all {
			if id == "" {
				return cmd.Help()
			}
			return server.DeleteWarning(id)
		}
		if id != "" {
			return errors.New(T("No need to specify a warning UUID when using --all"))
		}
		warnings, err := server.Warnings()
		if err != nil {
			return err
		}
		for _, w := range warnings {
			if err := server.DeleteWarning(w.UUID); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}

func warningColumnsKnown() map[rune]column[api.Warning] {
	return map[rune]column[api.Warning]{
		'c': {T("COUNT"), func(w api.Warning) string { return strconv.Itoa(w.Count) }},
		'f': {T("FIRST SEEN"), func(w api.Warning) string { return w.FirstSeenAt.UTC().Format(layoutLong) }},
		'l': {T("LAST SEEN"), func(w api.Warning) string { return w.LastSeenAt.UTC().Format(layoutLong) }},
		'L': {T("LOCATION"), func(w api.Warning) string { return w.Location }},
		'p': {T("PROJECT"), func(w api.Warning) string { return w.Project }},
		's': {T("SEVERITY"), func(w api.Warning) string { return strings.ToUpper(w.Severity) }},
		'S': {T("STATUS"), func(w api.Warning) string { return strings.ToUpper(w.Status) }},
		't': {T("TYPE"), func(w api.Warning) string { return w.Type }},
		'u': {T("UUID"), func(w api.Warning) string { return w.UUID }},
	}
}

func (c *App) warningListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("list", "[<remote>:]"), Aliases: []string{"ls"},
		Short: T("List the warnings of a server"),
		Long: T(`The columns to show are given with -c, one letter each, with or without commas between.

  c - how often it was found
  l - when last
  L - cluster member
  f - when first
  p - project
  s - severity
  S - status
  u - UUID
  t - type`),
	}
	all := cmd.Flags().BoolP("all", "a", false, T("List those that are resolved or acknowledged, too"))
	spec := cmd.Flags().StringP("columns", "c", warningColumns, T("Columns")+"``")
	format := formatFlag(cmd)
	cmd.RunE = takes(0, 1, func(args []string) error {
		server, _, err := c.parse(first(args))
		if err != nil {
			return err
		}
		info, _, err := server.Server()
		if err != nil {
			return err
		}
		layout := *spec
		if !info.Environment.ServerClustered {
			if cmd.Flags().Changed("columns") && strings.ContainsRune(layout, 'L') {
				return errors.New(T("Can't specify column L when not clustered"))
			}
			layout = strings.ReplaceAll(layout, "L", "")
		}
		columns, err := parseColumns(layout, warningColumnsKnown())
		if err != nil {
			return err
		}
		everything, err := server.Warnings()
		if err != nil {
			return err
		}
		kept := []api.Warning{}
		for _, w := range everything {
			if *all || (w.Status != "resolved" && w.Status != "acknowledged") {
				kept = append(kept, w)
			}
		}
		sort.SliceStable(kept, func(i, j int) bool { return kept[i].UUID < kept[j].UUID })
		header, rows := tableOf(columns, kept)
		return c.printTable(*format, header, rows, kept)
	})
	return cmd
}
