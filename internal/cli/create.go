package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/cliconf"
)

// create makes instances: init and launch share it.
type create struct {
	c *App

	config, devices, profiles []string
	ephemeral, noProfiles     bool
	network, storage, kind    string
	target                    string
	empty, vm                 bool
}

func (n *create) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&n.config, "config", "c", nil, T("key=value to set on the new instance; may be repeated")+"``")
	f.StringArrayVarP(&n.devices, "device", "d", nil, T("device,key=value to set on one of its devices; may be repeated")+"``")
	f.StringArrayVarP(&n.profiles, "profile", "p", nil, T("Profile for it, in place of \"default\"; may be repeated")+"``")
	f.BoolVarP(&n.ephemeral, "ephemeral", "e", false, T("Delete the instance when it stops"))
	f.StringVarP(&n.network, "network", "n", "", T("Managed network to connect it to")+"``")
	f.StringVarP(&n.storage, "storage", "s", "", T("Storage pool for its root disk")+"``")
	f.StringVarP(&n.kind, "type", "t", "", T("CPUs and memory in one word, such as c2-m4: two CPUs and 4096MB")+"``")
	f.StringVar(&n.target, "target", "", T("Cluster member to make it on")+"``")
	f.BoolVar(&n.noProfiles, "no-profiles", false, T("Give it no profile"))
	f.BoolVar(&n.empty, "empty", false, T("Leave its root disk empty: no image is used"))
	f.BoolVar(&n.vm, "vm", false, T("Make a virtual machine, not a container"))
}

// made is a new instance.
type made struct {
	server *client.Client
	remote string
	name   string
}

// run makes an instance from an image (remote:image) and a name (remote:name), both of which may be missing.
func (n *create) run(args []string) (*made, error) {
	if n.empty && len(args) > 1 {
		return nil, errors.New(T("--empty cannot be combined with an image name"))
	}
	imageArg, nameArg := n.arguments(args)
	imageRemote, image, err := n.c.parseRemote(imageArg)
	if err != nil {
		return nil, err
	}
	remote, name, err := n.c.parseRemote(nameArg)
	if err != nil {
		return nil, err
	}
	server, err := n.c.server(remote)
	if err != nil {
		return nil, err
	}
	if n.target != "" {
		server = server.UseTarget(n.target)
	}
	if !n.c.flagQuiet {
		if name == "" {
			fmt.Fprintln(n.c.Out, T("Creating the instance"))
		} else {
			fmt.Fprintf(n.c.Out, T("Creating %s")+"\n", name)
		}
	}
	post, err := n.request(server)
	if err != nil {
		return nil, err
	}
	post.Name = name
	if post.Source, err = n.source(server, remote, imageRemote, image); err != nil {
		return nil, err
	}
	op, err := server.CreateInstance(post)
	if err != nil {
		return nil, err
	}
	if err := n.c.waitOp(op, n.c.newProgress(T("Retrieving image: %s"))); err != nil {
		return nil, err
	}
	if name == "" {
		if name, err = createdName(op.State()); err != nil {
			return nil, err
		}
		fmt.Fprintf(n.c.Out, T("Instance name is: %s")+"\n", name)
	}
	n.warnNoNetwork(server, name)
	return &made{server: server, remote: remote, name: name}, nil
}

// arguments sorts out what was given. An empty instance has no image.
func (n *create) arguments(args []string) (image, name string) {
	switch {
	case n.empty && len(args) > 0:
		return "", args[len(args)-1]
	case n.empty:
		return "", ""
	case len(args) == 1:
		image = args[0]
		return image, ""
	}
	return args[0], args[1]
}

// request makes the request from standard input (YAML, when it is no terminal) and the flags.
func (n *create) request(server *client.Client) (api.InstancesPost, error) {
	post := api.InstancesPost{}
	if !isTerminal(n.c.In) {
		if err := n.fromStdin(&post.InstancePut); err != nil {
			return post, err
		}
	}
	config, err := configFlags(n.config)
	if err != nil {
		return post, err
	}
	devices, err := deviceFlags(n.devices)
	if err != nil {
		return post, err
	}
	if post.Config == nil {
		post.Config = map[string]string{}
	}
	maps.Copy(post.Config, config)
	if post.Devices == nil {
		post.Devices = map[string]map[string]string{}
	}
	switch {
	case n.noProfiles:
		post.Profiles = []string{}
	case len(n.profiles) > 0:
		post.Profiles = n.profiles
	}
	post.Ephemeral = post.Ephemeral || n.ephemeral
	post.InstanceType = n.kind
	post.Type = api.InstanceTypeContainer
	if n.vm {
		post.Type = api.InstanceTypeVM
	}
	if n.network != "" {
		name, device, err := nicFor(server, n.network)
		if err != nil {
			return post, err
		}
		post.Devices[name] = device
	}
	if n.storage != "" {
		if _, _, err := server.StoragePool(n.storage); err != nil {
			return post, fmt.Errorf(T("Failed loading storage pool %q: %w"), n.storage, err)
		}
		post.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": n.storage}
	}
	return post, n.overrideDevices(server, &post, devices)
}

// overrideDevices puts -d values on top of the request's own devices or, where it has none of the name, of those that its profiles bring.
func (n *create) overrideDevices(server *client.Client, post *api.InstancesPost, devices map[string]map[string]string) error {
	if len(devices) == 0 {
		return nil
	}
	inherited := map[string]map[string]string{}
	profiles := post.Profiles
	if profiles == nil {
		profiles = []string{"default"}
	}
	for _, name := range profiles {
		p, _, err := server.Profile(name)
		if err != nil {
			return fmt.Errorf(T("Failed loading profile %q: %w"), name, err)
		}
		maps.Copy(inherited, p.Devices)
	}
	for name, values := range devices {
		device := post.Devices[name]
		if device == nil {
			device = maps.Clone(inherited[name])
		}
		if device == nil {
			device = map[string]string{}
		}
		maps.Copy(device, values)
		post.Devices[name] = device
	}
	return nil
}

// fromStdin reads the configuration that is piped in. Something else may hold standard input open without ever writing:
// only pipes and files are read.
func (n *create) fromStdin(put *api.InstancePut) error {
	if f := fileOf(n.c.In); f != nil {
		info, err := f.Stat()
		if err != nil || info.Mode()&os.ModeCharDevice != 0 {
			return nil
		}
	}
	data, err := io.ReadAll(io.LimitReader(n.c.In, maxEdit))
	if err != nil {
		return err
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil
	}
	return fromYAML(data, put)
}

// source says where the image comes from.
func (n *create) source(server *client.Client, remote, imageRemote, image string) (api.InstanceSource, error) {
	if n.empty {
		return api.InstanceSource{Type: "none"}, nil
	}
	if image == "" {
		return api.InstanceSource{}, errors.New(T("An image is needed"))
	}
	source := api.InstanceSource{Type: "image"}
	r := n.c.conf.Remotes[imageRemote]
	if r.Protocol == cliconf.ProtocolSimplestreams {
		source.Server, source.Protocol, source.Mode, source.Alias = r.Addr, "simplestreams", "pull", image
		return source, nil
	}
	from := server
	if imageRemote != remote {
		var err error
		if from, err = n.c.server(imageRemote); err != nil {
			return source, err
		}
	}
	fingerprint := image
	named := false
	if alias, _, err := from.ImageAlias(image); err == nil {
		fingerprint, named = alias.Target, true
	}
	found, _, err := from.Image(fingerprint)
	if err != nil {
		return source, withImages(from, err)
	}
	source.Fingerprint = found.Fingerprint
	if imageRemote == remote {
		return source, nil
	}
	if from.IsUnix() {
		return source, errors.New(T("The image's server can't be reached by the other one: it has a unix socket only"))
	}
	source.Server, source.Protocol, source.Mode, source.Certificate = from.URL(), "lxd", "pull", from.ServerCertificate()
	if found.Public && named {
		// The server can then ask for a newer one, and knows when it has it already.
		source.Alias, source.Fingerprint = image, ""
	}
	if !found.Public {
		if source.Secret, err = imageSecret(from, found.Fingerprint); err != nil {
			return source, err
		}
	}
	return source, nil
}

// imageSecret lets another server fetch a private image.
func imageSecret(server *client.Client, fingerprint string) (string, error) {
	op, err := server.ImageSecret(fingerprint)
	if err != nil {
		return "", err
	}
	secret, ok := op.State().Metadata["secret"].(string)
	if !ok {
		return "", errors.New(T("The server gave no secret for the image"))
	}
	return secret, nil
}

// createdName finds the name that the server made up.
func createdName(state api.Operation) (string, error) {
	for _, kind := range []string{"instances", "containers", "virtual-machines"} {
		if urls := state.Resources[kind]; len(urls) == 1 {
			base, _, _ := strings.Cut(urls[0], "?")
			return base[strings.LastIndexByte(base, '/')+1:], nil
		}
	}
	return "", errors.New(T("Didn't get any affected image, instance or snapshot from server"))
}

// firstNIC is what the NIC of `--network` is called, as a device and inside: the first interface of the instance,
// whatever the network's name.
const firstNIC = "eth0"

// nicFor makes the NIC device for a network.
func nicFor(server *client.Client, network string) (string, map[string]string, error) {
	net, _, err := server.Network(network)
	if err != nil {
		return "", nil, fmt.Errorf(T("Failed loading network %q: %w"), network, err)
	}
	device := map[string]string{"name": firstNIC, "type": "nic"}
	if net.Managed {
		device["network"] = net.Name
		return firstNIC, device, nil
	}
	device["nictype"] = "macvlan"
	if net.Type == "bridge" {
		device["nictype"] = "bridged"
	}
	device["parent"] = net.Name
	return firstNIC, device, nil
}

// warnNoNetwork tells a user at a fresh server why the instance has no address.
func (n *create) warnNoNetwork(server *client.Client, name string) {
	if n.c.flagQuiet {
		return
	}
	i, _, err := server.Instance(name)
	if err != nil {
		return
	}
	for _, d := range i.ExpandedDevices {
		if d["type"] == "nic" {
			return
		}
	}
	fmt.Fprintln(n.c.Err, "\n"+T("The instance you are starting doesn't have any network attached to it."))
	fmt.Fprintln(n.c.Err, "  "+T("To create a new network, use: berth network create"))
	fmt.Fprintln(n.c.Err, "  "+T("To attach a network to an instance, use: berth network attach")+"\n")
}
