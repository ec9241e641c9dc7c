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

// completion gives the words that an argument may be. before are the arguments in front of it, word is what there is of it.
type completion func(s completing, before []string, word string) []string

// completing asks the server that an argument means, or the default one, for as long as completeTime.
type completing struct {
	c   *App
	ctx context.Context
}

// arguments are what commands take, by their path: one completion for each argument, the last for all that follow if its name ends in "...".
var arguments = map[string]string{
	"config edit": "instance", "config get": "instance|key key", "config set": "instance|key= key= value", "config show": "instance", "config unset": "instance|key key",
	"config device add": "instance none device-type", "config device get": "instance device device-key", "config device list": "instance", "config device override": "instance device",
	"config device remove": "instance device...", "config device set": "instance device", "config device show": "instance", "config device unset": "instance device device-key",
	"config metadata edit": "instance", "config metadata show": "instance", "config template create": "instance", "config template delete": "instance",
	"config template edit": "instance", "config template list": "instance", "config template show": "instance", "config trust edit": "certificate",
	"config trust list": "remote", "config trust list-tokens": "remote", "config trust remove": "certificate", "config trust show": "certificate",
	"console": "running", "copy": "snapshotted instance", "delete": "snapshotted...", "exec": "running", "file delete": "in-instance...", "file edit": "in-instance", "file mount": "in-instance file",
	"file pull": "in-instance file...", "file push": "file in-instance file...", "image alias create": "none image", "image alias delete": "alias", "image alias list": "remote",
	"image alias rename": "alias", "image build": "none remote", "image copy": "image remote", "image delete": "image...", "image edit": "image", "image export": "image file",
	"image get-property": "image", "image import": "file...", "image info": "image", "image list": "remote", "image refresh": "image...", "image set-property": "image",
	"image show": "image", "image unset-property": "image", "info": "instance", "init": "image", "launch": "image", "list": "remote", "monitor": "remote",
	"move": "snapshotted instance", "network attach": "network running", "network attach-profile": "network profile", "network create": "remote none key=...",
	"network delete": "network...", "network detach": "network instance", "network detach-profile": "network profile", "network edit": "network",
	"network get": "network network-key", "network info": "network", "network list": "remote", "network list-leases": "network", "network rename": "network",
	"network set": "network network-key= value", "network show": "network", "network unset": "network network-key", "operation delete": "operation", "operation list": "remote",
	"operation show": "operation", "pause": "running...", "profile add": "instance profile", "profile assign": "instance profile", "profile copy": "profile",
	"profile delete": "profile...", "profile device add": "profile none device-type", "profile device get": "profile profile-device profile-device-key", "profile device list": "profile", "profile device remove": "profile profile-device...",
	"profile device set": "profile profile-device", "profile device show": "profile", "profile device unset": "profile profile-device profile-device-key", "profile edit": "profile", "profile get": "profile profile-key",
	"profile list": "remote", "profile remove": "instance profile", "profile rename": "profile", "profile set": "profile profile-key= value", "profile show": "profile",
	"profile unset": "profile profile-key", "project delete": "project", "project edit": "project", "project get": "project", "project info": "project", "project list": "remote",
	"project rename": "project", "project set": "project", "project show": "project", "project switch": "project", "project unset": "project", "publish": "snapshotted remote",
	"remote remove": "remote-name", "remote rename": "remote-name", "remote set-url": "remote-name", "remote switch": "remote-name", "rename": "snapshotted",
	"restart": "running...", "restore": "snapshotted snapshot", "snapshot": "instance", "start": "stopped...", "stop": "running...", "storage create": "none driver",
	"storage delete": "pool", "storage edit": "pool", "storage get": "pool pool-key", "storage info": "pool", "storage list": "remote", "storage set": "pool pool-key= value",
	"storage show": "pool", "storage unset": "pool pool-key", "storage volume attach": "pool volume running", "storage volume attach-profile": "pool volume profile",
	"storage volume create": "pool", "storage volume delete": "pool volume", "storage volume detach": "pool volume instance",
	"storage volume detach-profile": "pool volume profile", "storage volume edit": "pool volume", "storage volume get": "pool volume volume-key",
	"storage volume info": "pool volume", "storage volume list": "pool", "storage volume rename": "pool volume", "storage volume restore": "pool volume",
	"storage volume set": "pool volume volume-key= value", "storage volume show": "pool volume", "storage volume snapshot": "pool volume",
	"storage volume unset": "pool volume volume-key", "version": "remote", "warning acknowledge": "warning", "warning delete": "warning", "warning list": "remote",
	"warning show": "warning", "alias remove": "user-alias", "alias rename": "user-alias", "cluster list": "remote", "manpage": "file",
}

// flagValues are what flags take, by name; true of every command that has the flag.
var flagValues = map[string]string{"profile": "profile", "storage": "pool", "network": "network", "project": "project", "target-project": "project"}

// addCompletions gives each command and flag its completion.
func (c *App) addCompletions(cmd *cobra.Command) {
	path := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	if spec, ok := arguments[path]; ok {
		kinds := strings.Fields(spec)
		cmd.ValidArgsFunction = func(_ *cobra.Command, before []string, word string) ([]string, cobra.ShellCompDirective) {
			return c.complete(kindAt(kinds, len(before)), before, word)
		}
	}
	for name, kind := range flagValues {
		if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
				return c.complete(kind, nil, word)
			})
		}
	}
	if cmd.Flags().Lookup("format") != nil && path != "manpage" && path != "monitor" {
		_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatTable, formatCSV, formatJSON, formatYAML, formatCompact}, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, sub := range cmd.Commands() {
		c.addCompletions(sub)
	}
}

// kindAt is the kind of the argument at a place.
func kindAt(kinds []string, at int) string {
	if at < len(kinds) {
		return strings.TrimSuffix(kinds[at], "...")
	}
	if last := kinds[len(kinds)-1]; strings.HasSuffix(last, "...") {
		return strings.TrimSuffix(last, "...")
	}
	return "none"
}

// complete finds the words of a kind that begin as word does.
func (c *App) complete(kind string, before []string, word string) ([]string, cobra.ShellCompDirective) {
	if kind == "file" {
		return nil, cobra.ShellCompDirectiveDefault
	}
	find, ok := completions[kind]
	if !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(background(), completeTime)
	defer cancel()
	var out []string
	for _, w := range find(completing{c, ctx}, before, word) {
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

// remotes are the other remotes, with a colon, for arguments that may name one.
func (s completing) remotes() (out []string) {
	for name := range s.c.conf.Remotes {
		if name != s.c.conf.DefaultRemote {
			out = append(out, name+":")
		}
	}
	return out
}
