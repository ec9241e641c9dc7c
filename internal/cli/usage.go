package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// paragraphs are what the long help of a command says after its short text.
func paragraphs(text ...string) string { return strings.Join(text, "\n\n") }

func indent(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n")
}

// usage makes the usage line of a command.
func usage(name string, args ...string) string {
	if len(args) == 0 {
		return name
	}
	return name + " " + strings.Join(args, " ")
}

// examples makes the examples of a command: pairs of a command line and what it does.
func examples(pairs ...string) string {
	var lines []string
	for i := 0; i+1 < len(pairs); i += 2 {
		lines = append(lines, "  "+pairs[i]+"\n      "+pairs[i+1])
	}
	return strings.Join(lines, "\n\n")
}

// errArguments is for a wrong number of arguments.
var errArguments = errors.New("Invalid number of arguments") // as lxc says it

// checkArgs shows the help when there are fewer arguments than min or (max >= 0) more than max; done means that the command ends with err.
func checkArgs(cmd *cobra.Command, args []string, min, max int) (done bool, err error) {
	if len(args) >= min && (max < 0 || len(args) <= max) {
		return false, nil
	}
	_ = cmd.Help()
	if len(args) == 0 {
		return true, nil
	}
	return true, errArguments
}

// takes makes a command run with min to max arguments, max < 0 for any number. With others it shows its help, as checkArgs does.
func takes(min, max int, run func(args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if done, err := checkArgs(cmd, args, min, max); done {
			return err
		}
		return run(args)
	}
}

// group makes a command that only has sub-commands.
func group(name, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  noSuchCommand,
		Run:   func(cmd *cobra.Command, _ []string) { _ = cmd.Usage() },
	}
	cmd.AddCommand(subs...)
	return cmd
}

// noSuchCommand refuses what is no sub-command, and names those that are spelled like it.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	err := cobra.NoArgs(cmd, args)
	if err == nil {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // cobra's own for the first level
	if alike := cmd.SuggestionsFor(args[0]); len(alike) > 0 {
		return fmt.Errorf("%w\n\n%s\n\t%s\n", err, T("Did you mean this?"), strings.Join(alike, "\n\t")) // as cobra says it
	}
	return err
}

// setUsage gives all commands the layout of lxc's help.
func setUsage(root *cobra.Command, c *App) {
	describeAll(root)
	cobra.AddTemplateFunc("berthShown", func(cmd *cobra.Command) bool {
		if !cmd.IsAvailableCommand() && cmd.Name() != "help" {
			return false
		}
		return cmd.Parent() != root || c.flagAll || commonCommands[cmd.Name()]
	})
	cobra.AddTemplateFunc("berthTree", func(cmd *cobra.Command) string {
		if !c.flagHelpAll {
			return ""
		}
		return tree(cmd)
	})
	root.SetUsageTemplate(usageTemplate)
	root.InitDefaultHelpCmd()
	for _, sub := range root.Commands() {
		if sub.Name() == "help" {
			sub.PreRunE = func(_ *cobra.Command, args []string) error { return checkTopic(root, args) }
		}
	}
}

// checkTopic refuses what help knows nothing of, as the command itself is refused.
func checkTopic(root *cobra.Command, args []string) error {
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 && cmd.HasSubCommands() {
		return noSuchCommand(cmd, rest)
	}
	return nil
}

// describeAll puts its short text in front of what else the help of a command says.
func describeAll(cmd *cobra.Command) {
	text := cmd.Short
	if cmd.Long != "" {
		text = paragraphs(text, cmd.Long)
	}
	cmd.Long = "Description:\n" + indent(text)
	for _, sub := range cmd.Commands() {
		describeAll(sub)
	}
}

// tree lists the commands beneath a command.
func tree(cmd *cobra.Command) string {
	var b strings.Builder
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		b.WriteString("\n" + sub.CommandPath() + "\n  " + sub.Short)
		b.WriteString(tree(sub))
	}
	return b.String()
}

const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Available Commands:{{range .Commands}}{{if berthShown .}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Global Flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{berthTree .}}{{if .HasAvailableSubCommands}}

Use "{{.CommandPath}} [command] --help" for more information about a command.{{end}}
`
