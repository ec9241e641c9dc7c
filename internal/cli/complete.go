package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

// completeTime is how long the shell may wait for a server's answer: a key that was pressed by mistake must not hold the line up.
const completeTime = 2 * time.Second

// completion gives the words that an argument may be; word is what there is of it.
type completion func(s completing, word string) []string

// completing is one argument that is being written.
type completing struct {
	c   *App
	ctx context.Context // ends after completeTime
	cmd *cobra.Command
	// this is the argument; before are those in front of it, with the words that were given for them.
	this   argument
	before []argument
	given  []string
}

// flagValues are what flags take, by name; true of every command that has the flag.
var flagValues = map[string]string{"profile": "<profile>", "storage": "<pool>", "network": "<network>", "project": "<project>", "target-project": "<project>"}

// addCompletions gives each command and flag its completion. What arguments a command takes, its usage line says.
func (c *App) addCompletions(cmd *cobra.Command) {
	if args := argumentsOf(cmd.Use); len(args) > 0 && cmd.ValidArgsFunction == nil { // "help" has its own
		cmd.ValidArgsFunction = func(cmd *cobra.Command, given []string, word string) ([]string, cobra.ShellCompDirective) {
			return c.completeArgument(cmd, args, given, word)
		}
	}
	for name, value := range flagValues {
		if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
				return c.complete(completing{cmd: cmd, this: argument{name: value}}, word)
			})
		}
	}
	if cmd.Flags().Lookup("format") != nil && cmd.Name() != "manpage" && cmd.Name() != "monitor" {
		_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatTable, formatCSV, formatJSON, formatYAML, formatCompact}, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, sub := range cmd.Commands() {
		c.addCompletions(sub)
	}
}

// completeArgument finds which argument is being written. In the place of one that may be left out, or come again, stands that argument or
// the next one.
func (c *App) completeArgument(cmd *cobra.Command, args []argument, given []string, word string) ([]string, cobra.ShellCompDirective) {
	last := len(args) - 1
	if last > 0 && args[last-1].many { // any number of them, and one that is the last
		last--
	}
	at := min(len(given), last)
	if len(given) > at && !args[at].many {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s := completing{cmd: cmd, this: args[at], given: given}
	for i := range given {
		s.before = append(s.before, args[min(i, last)])
	}
	words, directive := c.complete(s, word)
	if (s.this.optional || s.this.many && len(given) > at) && at+1 < len(args) {
		s.this = args[at+1]
		more, both := c.complete(s, word)
		if len(words) == 0 {
			directive = both
		}
		words = append(words, more...)
	}
	return words, directive
}

// complete finds the words for an argument that begin as word does.
func (c *App) complete(s completing, word string) ([]string, cobra.ShellCompDirective) {
	if slices.Contains(localFiles, s.this.name) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	find, ok := completions[s.this.name]
	if !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(background(), completeTime)
	defer cancel()
	s.c, s.ctx = c, ctx
	var out []string
	for _, w := range find(s, word) {
		if strings.HasPrefix(w, word) {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	open := func(w string) bool {
		return strings.HasSuffix(w, ":") || strings.HasSuffix(w, "=") || strings.HasSuffix(w, "/")
	}
	if len(out) > 0 && !slices.ContainsFunc(out, func(w string) bool { return !open(w) }) {
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// value is the word that was given for an argument in front of this one.
func (s completing) value(name string) (string, bool) {
	for i, a := range s.before {
		if a.name == name {
			return s.given[i], true
		}
	}
	return "", false
}

// server connects to the remote that raw names, and is bounded in time.
func (s completing) server(raw string) (server *client.Client, prefix, name string, ok bool) {
	remote, name, err := s.c.parseRemote(raw)
	if err != nil {
		return nil, "", "", false
	}
	conn, err := s.c.server(remote)
	if err != nil {
		return nil, "", "", false
	}
	return conn.WithContext(s.ctx), strings.TrimSuffix(raw, name), name, true
}

// sameServer is the server that the first argument names: what has no remote in front of it is there.
func (s completing) sameServer() (*client.Client, bool) {
	raw := ""
	if len(s.before) > 0 && s.before[0].remote {
		raw = s.given[0]
	}
	server, _, _, ok := s.server(raw)
	return server, ok
}

// givenName is the server and the name that were given for an argument.
func (s completing) givenName(argument string) (server *client.Client, name string, ok bool) {
	raw, ok := s.value(argument)
	if !ok {
		return nil, "", false
	}
	server, _, name, ok = s.server(raw)
	return server, name, ok
}

// remotes are the other remotes, with a colon, for arguments that may name one.
func (s completing) remotes() (out []string) {
	for name := range s.c.conf.Remotes {
		if name != s.c.conf.DefaultRemote {
			out = append(out, name+":")
		}
	}
	return out
}
