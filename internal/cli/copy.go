package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// instanceTransfer copies or moves an instance.
type instanceTransfer struct {
	c *App

	config, devices, profiles                []string
	noProfiles, ephemeral, stateless         bool
	instanceOnly, allowInconsistent, refresh bool
	mode, storage, target, targetProject     string
	keepVolatile                             bool // a move keeps the addresses
}

func (t *instanceTransfer) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&t.config, "config", "c", nil, T("key=value to set on the copy; may be repeated")+"``")
	f.StringArrayVarP(&t.devices, "device", "d", nil, T("device,key=value to set on a device of the copy; may be repeated")+"``")
	f.StringArrayVarP(&t.profiles, "profile", "p", nil, T("Profile for the copy, in place of those of the source; may be repeated")+"``")
	f.BoolVar(&t.noProfiles, "no-profiles", false, T("Give the copy no profile"))
	f.StringVar(&t.mode, "mode", "pull", T("Who connects to whom: pull, push or relay")+"``")
	f.BoolVar(&t.instanceOnly, "instance-only", false, T("Leave the snapshots behind"))
	f.BoolVar(&t.stateless, "stateless", false, T("Leave the saved running state behind"))
	f.StringVarP(&t.storage, "storage", "s", "", T("Storage pool to put it on")+"``")
	f.StringVar(&t.target, "target", "", T("Cluster member to put it on")+"``")
	f.StringVar(&t.targetProject, "target-project", "", T("Project to put it in, if another")+"``")
	f.BoolVar(&t.allowInconsistent, "allow-inconsistent", false, T("Go on where files change while they are copied"))
}

func (c *App) copyCommand() *cobra.Command {
	t := &instanceTransfer{c: c}
	cmd := c.simple("copy", "[<remote>:]<source>[/<snapshot>] [[<remote>:]<destination>]", T("Copy an instance or a snapshot to a new instance, here or on another server"), 1, 2, func(args []string) error {
		dest := ""
		if len(args) == 2 {
			dest = args[1]
		}
		return t.run(args[0], dest)
	})
	cmd.Aliases = []string{"cp"}
	t.flags(cmd)
	cmd.Flags().BoolVarP(&t.ephemeral, "ephemeral", "e", false, T("Delete the copy when it stops"))
	cmd.Flags().BoolVar(&t.refresh, "refresh", false, T("Bring a copy that is there up to date"))
	return cmd
}

// run copies. Without a destination the server makes a name up, or keeps it on another server.
func (t *instanceTransfer) run(source, dest string) error {
	from, sourceName, err := t.c.parse(source)
	if err != nil {
		return err
	}
	fromRemote, _, _ := t.c.parseRemote(source)
	toRemote, destName, err := t.c.parseRemote(dest)
	if err != nil {
		return err
	}
	if sourceName == "" {
		return errors.New(T("You must specify a source instance name"))
	}
	instance, snapshot, isSnapshot := splitSnapshot(sourceName)
	if strings.Contains(destName, "/") {
		return errors.New(T("Invalid instance name: a copy can't become a snapshot"))
	}
	if fromRemote != toRemote {
		return errors.New(T("Instances can't be copied between servers by this version: use one remote"))
	}
	to, err := t.c.server(toRemote)
	if err != nil {
		return err
	}
	if t.targetProject != "" {
		to = to.UseProject(t.targetProject)
	}
	if t.target != "" {
		to = to.UseTarget(t.target)
	}
	post, err := t.request(from, instance, snapshot, isSnapshot)
	if err != nil {
		return err
	}
	post.Name = destName
	op, err := to.CreateInstance(*post)
	if err != nil {
		return err
	}
	if err := t.c.waitOp(op, t.c.newProgress(T("Transferring instance: %s"))); err != nil {
		return err
	}
	if destName == "" {
		name, err := createdName(op.State())
		if err != nil {
			return err
		}
		fmt.Fprintf(t.c.Out, T("Instance name is: %s")+"\n", name)
	}
	return nil
}

// request makes the request of a copy from what the source is and what the flags change.
func (t *instanceTransfer) request(from *client.Client, instance, snapshot string, isSnapshot bool) (*api.InstancesPost, error) {
	post := &api.InstancesPost{}
	if isSnapshot {
		s, _, err := from.InstanceSnapshot(instance, snapshot)
		if err != nil {
			return nil, err
		}
		parent, _, err := from.Instance(instance)
		if err != nil {
			return nil, err
		}
		post.Type = api.InstanceType(parent.Type)
		post.InstancePut = api.InstancePut{Architecture: s.Architecture, Config: s.Config, Devices: s.Devices, Profiles: s.Profiles, Stateful: s.Stateful}
		post.Source.Source = instance + "/" + snapshot
	} else {
		i, _, err := from.Instance(instance)
		if err != nil {
			return nil, err
		}
		post.Type, post.InstancePut = api.InstanceType(i.Type), i.InstancePut
		post.Source.Source = instance
	}
	post.Source.Type = "copy"
	post.Source.Live = post.Stateful && !t.stateless
	post.Source.InstanceOnly, post.Source.ContainerOnly = t.instanceOnly, t.instanceOnly
	post.Source.Refresh, post.Source.AllowInconsistent = t.refresh, t.allowInconsistent
	// Without one the server takes the project of the request, which is where the copy goes.
	post.Source.Project = cmp.Or(from.Project(), api.ProjectDefault)
	post.Ephemeral = t.ephemeral
	if t.keepVolatile {
		return post, t.override(post)
	}
	// What belongs to the very instance is not copied; the server makes new.
	for key := range post.Config {
		if strings.HasPrefix(key, "volatile.") && key != "volatile.base_image" && key != "volatile.last_state.idmap" {
			delete(post.Config, key)
		}
	}
	return post, t.override(post)
}

// override puts the flags on top.
func (t *instanceTransfer) override(post *api.InstancesPost) error {
	config, err := configFlags(t.config)
	if err != nil {
		return err
	}
	if post.Config == nil {
		post.Config = map[string]string{}
	}
	maps.Copy(post.Config, config)
	devices, err := deviceFlags(t.devices)
	if err != nil {
		return err
	}
	if post.Devices == nil {
		post.Devices = map[string]map[string]string{}
	}
	for name, values := range devices {
		if post.Devices[name] == nil {
			post.Devices[name] = map[string]string{}
		}
		maps.Copy(post.Devices[name], values)
	}
	switch {
	case t.noProfiles:
		post.Profiles = []string{}
	case len(t.profiles) > 0:
		post.Profiles = t.profiles
	}
	if t.storage != "" {
		root := "root"
		for name, d := range post.Devices {
			if d["type"] == "disk" && d["path"] == "/" {
				root = name
			}
		}
		if post.Devices[root] == nil {
			post.Devices[root] = map[string]string{"type": "disk", "path": "/"}
		}
		post.Devices[root]["pool"] = t.storage
	}
	return nil
}
