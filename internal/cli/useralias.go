package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/shlex"
	"github.com/spf13/cobra"
)

// builtinAliases are there until a user makes one of that name.
var builtinAliases = map[string]string{
	"shell":    "exec @ARGS@ -- su -l",
	"cp":       "copy",
	"ls":       "list",
	"mv":       "move",
	"rm":       "delete",
	"freeze":   "pause",
	"unfreeze": "start",
}

// expandAlias replaces an alias at the start of the arguments by its target. @ARGS@ in the target takes the rest of the
// arguments; without it they come at the end.
func expandAlias(user map[string]string, root *cobra.Command, args []string) ([]string, error) {
	if len(args) > 2 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		return expandForCompletion(user, root, args)
	}
	at := firstWord(root, args)
	if at < 0 {
		return args, nil
	}
	name, target := matchAlias(user, args[at:])
	if name == nil {
		if cmd, _, err := root.Find(args[at : at+1]); err == nil && cmd != root {
			return args, nil
		}
		name, target = matchAlias(builtinAliases, args[at:])
	}
	if name == nil {
		return args, nil
	}
	words, err := shlex.Split(target)
	if err != nil {
		return nil, fmt.Errorf(T("Processing aliases failed: %s"), err)
	}
	rest := args[at+len(name):]
	out := append([]string{}, args[:at]...)
	placed := false
	for _, w := range words {
		if w == "@ARGS@" {
			out = append(out, rest...)
			placed = true
			continue
		}
		out = append(out, w)
	}
	if !placed {
		out = append(out, rest...)
	}
	return out, nil
}

// expandForCompletion replaces an alias in what a shell wants completed. The last word is that which is being written: what an alias
// puts behind it is left out, and it is no alias itself.
func expandForCompletion(user map[string]string, root *cobra.Command, args []string) ([]string, error) {
	last := len(args) - 1
	out, err := expandAlias(user, root, append(slices.Clone(args[1:last]), "@WORD@"))
	if err != nil {
		return nil, err
	}
	if at := slices.Index(out, "@WORD@"); at >= 0 {
		out = out[:at]
	}
	return append(append(args[:1:1], out...), args[last]), nil
}

// firstWord finds the first argument that is no global flag and no value of one.
func firstWord(root *cobra.Command, args []string) int {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			return -1
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			return i
		}
		if strings.HasPrefix(a, "--") && !strings.Contains(a, "=") {
			if f := root.PersistentFlags().Lookup(a[2:]); f != nil && f.NoOptDefVal == "" {
				i++
			}
		}
	}
	return -1
}

// matchAlias finds the alias with the most words that the arguments start with.
func matchAlias(aliases map[string]string, args []string) (name []string, target string) {
	for alias, t := range aliases {
		words := strings.Fields(alias)
		if len(words) <= len(name) || len(words) > len(args) {
			continue
		}
		same := true
		for i, w := range words {
			same = same && args[i] == w
		}
		if same {
			name, target = words, t
		}
	}
	return name, target
}
