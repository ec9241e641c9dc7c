package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls fn with each command of the command line.
func everyCommand(fn func(*cobra.Command)) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		fn(cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&App{}).rootCommand())
}

// A reader who sees two defaults, or a number that nobody would type, does not know what happens without the flag.
func TestAFlagNamesOneDefault(t *testing.T) {
	shown := 0
	everyCommand(func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			alone := pflag.NewFlagSet("", pflag.ContinueOnError)
			alone.AddFlag(f)
			line := strings.Join(strings.Fields(alone.FlagUsages()), " ")
			defaults := len(regexp.MustCompile(`\(([a-z]+ )*default|\(the default\)`).FindAllString(line, -1))
			shown += defaults
			if defaults > 1 || strings.Contains(line, "(default -1)") && !strings.Contains(line, "-1: ") {
				t.Errorf("%s: %s", cmd.CommandPath(), line)
			}
		})
	})
	if shown < 20 {
		t.Errorf("%d defaults were found: has the way help shows them changed?", shown)
	}
	help := berth("", "list", "--help").out
	if want := "columns are " + listColumns + " "; !strings.Contains(help, want) || strings.Count(help, "ns46tS") != 2 {
		t.Errorf("not %q, and once more with the flag: %s", want, help)
	}
}

func TestHelpBeginsWithWhatACommandDoes(t *testing.T) {
	everyCommand(func(cmd *cobra.Command) {
		if cmd.Name() == "help" { // cobra's own
			return
		}
		want := "Description:\n  " + cmd.Short
		if rest, ok := strings.CutPrefix(cmd.Long, want); !ok || rest != "" && !strings.HasPrefix(rest, "\n\n  ") || strings.Contains(rest, "\n  "+cmd.Short+"\n") {
			t.Errorf("%s: %q, want %q and its further paragraphs", cmd.CommandPath(), cmd.Long, want)
		}
	})
}

func TestHelpSaysWhatAFlagDoesWhereItIs(t *testing.T) {
	newFake(t)
	for args, want := range map[string]string{
		"stop":            "Watch this console while the instance shuts down",
		"restart":         "Attach to this console once the instance is started",
		"storage create":  "Cluster member that is asked, or on which it is done",
		"launch":          "c2-m4: two CPUs and 4096MB",
		"list":            "p - PID of its init on the host",
		"exec":            "ID of the user that runs the command (default 0)",
		"config metadata": "an instance's metadata.yaml",
		"storage":         "Manage pools of storage and the volumes on them",
		"warning list":    "resolved or acknowledged",
		"config trust":    "Revoke a token",
		"file push":       "(default: that of the file here)\n",
		"image copy":      `pull, push or relay (default "pull")`,
		"":                `as in "berth list far:" or "berth info far:web"`,
		"network set":     "Cluster member that is asked",
		"console":         "Connect this terminal to the console of an instance",
	} {
		if got := berth("", append(strings.Fields(args), "--help")...); got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%s --help does not say %q: %s", args, want, got.out)
		}
	}
}
