package cli

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// manpageCommand writes one page per command, in the roff of man(7) or as Markdown.
func (c *App) manpageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("manpage", T("<target>")),
		Short: T("Generate manpages for all commands"),
	}
	format := cmd.Flags().StringP("format", "f", "man", T("Format (man|md)")+"``")
	cmd.RunE = takes(1, 1, func(args []string) error {
		return writePages(cmd.Root(), args[0], *format)
	})
	return cmd
}

func writePages(cmd *cobra.Command, dir, format string) error {
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		if err := writePages(sub, dir, format); err != nil {
			return err
		}
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", ".")
	file, text := name+".1", manPage(cmd)
	if format == "md" {
		file, text = strings.ReplaceAll(cmd.CommandPath(), " ", "_")+".md", markdownPage(cmd)
	}
	return os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644)
}

func manPage(cmd *cobra.Command) string {
	escape := strings.NewReplacer(`\`, `\\`, "\n.", "\n\\&.", "\n'", "\n\\&'", "-", `\-`).Replace
	title := strings.ToUpper(strings.ReplaceAll(cmd.CommandPath(), " ", "-"))
	var b strings.Builder
	b.WriteString(".TH \"" + title + "\" 1 \"\" \"Berth\" \"Berth\"\n.nh\n.ad l\n")
	b.WriteString(".SH NAME\n" + escape(cmd.CommandPath()+" - "+cmd.Short) + "\n")
	b.WriteString(".SH SYNOPSIS\n.B " + escape(cmd.UseLine()) + "\n")
	b.WriteString(".SH DESCRIPTION\n.nf\n" + escape(strings.TrimPrefix(cmd.Long, "Description:\n")) + "\n.fi\n")
	if flags := cmd.Flags().FlagUsages(); flags != "" {
		b.WriteString(".SH OPTIONS\n.nf\n" + escape(flags) + ".fi\n")
	}
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n" + escape(cmd.Example) + "\n.fi\n")
	}
	return b.String()
}

func markdownPage(cmd *cobra.Command) string {
	text := "# " + cmd.CommandPath() + "\n\n" + cmd.Short + "\n\n```\n" + cmd.UseLine() + "\n```\n"
	if cmd.Example != "" {
		text += "\n## Examples\n\n```\n" + cmd.Example + "\n```\n"
	}
	if flags := cmd.Flags().FlagUsages(); flags != "" {
		text += "\n## Flags\n\n```\n" + flags + "```\n"
	}
	return text
}
