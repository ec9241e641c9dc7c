package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// manpageCommand writes one page per command.
func (c *App) manpageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("manpage", "<target>"),
		Short: T("Write a manual page for each command"),
	}
	format := cmd.Flags().StringP("format", "f", "man", T("Format of the pages: man, md, rest or yaml")+"``")
	cmd.RunE = takes(1, 1, func(args []string) error { return writePages(cmd.Root(), args[0], *format) })
	return cmd
}

func writePages(root *cobra.Command, dir, format string) error {
	root.DisableAutoGenTag = true // the same pages each time they are made
	readable(root)
	switch format {
	case "man":
		forRoff(root)
		return doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{
			Path: dir, CommandSeparator: ".", Header: &doc.GenManHeader{Section: "1", Source: "Berth", Manual: "Berth"},
		})
	case "md":
		return doc.GenMarkdownTree(root, dir)
	case "rest":
		return doc.GenReSTTree(root, dir)
	case "yaml":
		return doc.GenYamlTree(root, dir)
	}
	return fmt.Errorf(T("Invalid format %q"), format)
}

// readable takes what only fits a screen out of the long texts: their heading, and the indentation, which in a page would make code of them.
func readable(cmd *cobra.Command) {
	lines := strings.Split(strings.TrimPrefix(cmd.Long, "Description:\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	cmd.Long = strings.Join(lines, "\n")
	for _, sub := range cmd.Commands() {
		readable(sub)
	}
}

// forRoff makes what manual pages go through, which is Markdown, keep arguments such as <remote>, and takes the marks off flags by which
// help texts leave their types out.
func forRoff(cmd *cobra.Command) {
	escape := strings.NewReplacer("<", `\<`, ">", `\>`).Replace
	cmd.Use, cmd.Short, cmd.Long = escape(cmd.Use), escape(cmd.Short), escape(cmd.Long)
	unmark := func(f *pflag.Flag) { f.Usage = strings.TrimSuffix(f.Usage, "``") }
	cmd.LocalFlags().VisitAll(unmark)
	cmd.PersistentFlags().VisitAll(unmark)
	for _, sub := range cmd.Commands() {
		forRoff(sub)
	}
}
