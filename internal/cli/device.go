package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

// devices is a table of devices by name.
type devices = map[string]map[string]string

// deviceOwner is what has devices: instances and profiles.
type deviceOwner interface {
	noun() string
	group() string // the command that "device" belongs to
	// load fetches the devices, those inherited (nil for profiles), and a function that saves them.
	load(server *client.Client, name string) (local, expanded devices, save func(devices) error, err error)
}

type instanceDevices struct{ c *App }

func (instanceDevices) noun() string  { return "instance" }
func (instanceDevices) group() string { return "config" }

func (o instanceDevices) load(server *client.Client, name string) (devices, devices, func(devices) error, error) {
	i, etag, err := server.Instance(name)
	if err != nil {
		return nil, nil, nil, err
	}
	return i.Devices, i.ExpandedDevices, func(d devices) error {
		i.Devices = d
		return o.c.waitStarted(server.UpdateInstance(name, i.InstancePut, etag))
	}, nil
}

type profileDevices struct{}

func (profileDevices) noun() string  { return "profile" }
func (profileDevices) group() string { return "profile" }

func (profileDevices) load(server *client.Client, name string) (devices, devices, func(devices) error, error) {
	p, etag, err := server.Profile(name)
	if err != nil {
		return nil, nil, nil, err
	}
	return p.Devices, nil, func(d devices) error {
		p.Devices = d
		return server.UpdateProfile(name, p.ProfilePut, etag)
	}, nil
}

// deviceCommand is "config device" and "profile device".
func (c *App) deviceCommand(o deviceOwner) *cobra.Command {
	d := &deviceVerbs{c: c, owner: o}
	cmd := group("device", T("Manage what an instance or a profile has for devices: disks, network interfaces, …"), d.add(), d.get(), d.list(), d.remove(), d.set(), d.show(), d.unset())
	if o.noun() == "instance" {
		cmd.AddCommand(d.override())
	}
	return cmd
}

type deviceVerbs struct {
	c     *App
	owner deviceOwner
}

var errNoDevice = errors.New("Device doesn't exist") // as lxc says it

// command makes one verb: run gets the loaded devices and returns true when they have to be saved.
func (d *deviceVerbs) command(use, short string, min, max int, run func(name string, local, expanded devices, args []string) (save bool, err error)) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if done, err := checkArgs(cmd, args, min, max); done {
				return err
			}
			server, name, err := d.c.named(args[0], T("Missing name"))
			if err != nil {
				return err
			}
			local, expanded, save, err := d.owner.load(server, name)
			if err != nil {
				return err
			}
			if local == nil {
				local = devices{}
			}
			changed, err := run(name, local, expanded, args[1:])
			if err != nil || !changed {
				return err
			}
			if err := save(local); err != nil {
				return err
			}
			return d.report(cmd.Name(), name, args[1:])
		},
	}
}

// report says what was done.
func (d *deviceVerbs) report(verb, name string, args []string) error {
	if d.c.flagQuiet {
		return nil
	}
	switch verb {
	case "add":
		fmt.Fprintf(d.c.Out, T("Device %s added to %s")+"\n", args[0], name)
	case "override":
		fmt.Fprintf(d.c.Out, T("Device %s overridden for %s")+"\n", args[0], name)
	case "remove":
		for _, dev := range args {
			fmt.Fprintf(d.c.Out, T("Device %s removed from %s")+"\n", dev, name)
		}
	}
	return nil
}

func (d *deviceVerbs) use(verb, rest string) string {
	return usage(verb, fmt.Sprintf("[<remote>:]<%s>", d.owner.noun()), rest)
}

func (d *deviceVerbs) add() *cobra.Command {
	cmd := d.command(d.use("add", "<new-name> <type> [key=value...]"), T("Add a device"), 3, -1,
		func(_ string, local, _ devices, args []string) (bool, error) {
			device := map[string]string{"type": args[1]}
			if len(args) > 2 {
				values, err := configFlags(args[2:])
				if err != nil {
					return false, err
				}
				maps.Copy(device, values)
			}
			device["type"] = args[1]
			if _, ok := local[args[0]]; ok {
				return false, errors.New(T("The device already exists"))
			}
			local[args[0]] = device
			return true, nil
		})
	line := fmt.Sprintf("berth %s device add %s1 ", d.owner.group(), d.owner.noun())
	cmd.Example = examples(
		line+"music disk source=/srv/music path=/mnt/music", T("Show the host's /srv/music at /mnt/music inside."),
		line+"data disk pool=fast source=vol1 path=/data", T("Attach the custom volume vol1 of the pool fast at /data."),
	)
	return cmd
}

func (d *deviceVerbs) get() *cobra.Command {
	return d.command(d.use("get", "<device> <key>"), T("Print the value of a device's key"), 3, 3,
		func(_ string, local, _ devices, args []string) (bool, error) {
			device, ok := local[args[0]]
			if !ok {
				return false, errNoDevice
			}
			fmt.Fprintln(d.c.Out, device[args[1]])
			return false, nil
		})
}

func (d *deviceVerbs) list() *cobra.Command {
	cmd := d.command(d.use("list", ""), T("List the names of the devices"), 1, 1,
		func(_ string, local, _ devices, _ []string) (bool, error) {
			for _, name := range slices.Sorted(maps.Keys(local)) {
				fmt.Fprintln(d.c.Out, name)
			}
			return false, nil
		})
	cmd.Aliases = []string{"ls"}
	return cmd
}

func (d *deviceVerbs) remove() *cobra.Command {
	cmd := d.command(d.use("remove", "<device>..."), T("Remove devices"), 2, -1,
		func(_ string, local, expanded devices, args []string) (bool, error) {
			for _, name := range args {
				if _, ok := local[name]; ok {
					delete(local, name)
					continue
				}
				if _, ok := expanded[name]; ok {
					return false, errors.New(T("Device from profile(s) cannot be removed from individual instance. Override device or modify profile instead"))
				}
				return false, errNoDevice
			}
			return true, nil
		})
	cmd.Aliases = []string{"rm"}
	return cmd
}

func (d *deviceVerbs) set() *cobra.Command {
	return d.command(d.use("set", "<device> <key>=<value>..."), T("Give keys of a device new values"), 3, -1,
		func(_ string, local, expanded devices, args []string) (bool, error) {
			values, err := d.c.keyValues(args[1:]...)
			if err != nil {
				return false, err
			}
			device, ok := local[args[0]]
			if !ok {
				if _, inherited := expanded[args[0]]; inherited {
					return false, errors.New(T("Device from profile(s) cannot be modified for individual instance. Override device or modify profile instead"))
				}
				return false, errNoDevice
			}
			for k, v := range values {
				if v == "" {
					delete(device, k)
					continue
				}
				device[k] = v
			}
			return true, nil
		})
}

func (d *deviceVerbs) show() *cobra.Command {
	return d.command(d.use("show", ""), T("Print all devices as YAML"), 1, 1,
		func(_ string, local, _ devices, _ []string) (bool, error) {
			return false, d.c.printYAML(local)
		})
}

func (d *deviceVerbs) unset() *cobra.Command {
	return d.command(d.use("unset", "<device> <key>"), T("Take a key of a device away"), 3, 3,
		func(_ string, local, expanded devices, args []string) (bool, error) {
			device, ok := local[args[0]]
			if !ok {
				if _, inherited := expanded[args[0]]; inherited {
					return false, errors.New(T("Device from profile(s) cannot be modified for individual instance. Override device or modify profile instead"))
				}
				return false, errNoDevice
			}
			delete(device, args[1])
			return true, nil
		})
}

func (d *deviceVerbs) override() *cobra.Command {
	return d.command(d.use("override", "<device> [key=value...]"), T("Give an instance its own copy of a device from its profiles, with other values"), 2, -1,
		func(_ string, local, expanded devices, args []string) (bool, error) {
			if _, ok := local[args[0]]; ok {
				return false, errors.New(T("The device already exists"))
			}
			inherited, ok := expanded[args[0]]
			if !ok {
				return false, errors.New(T("The profile device doesn't exist"))
			}
			device := maps.Clone(inherited)
			values, err := configFlags(args[1:])
			if err != nil {
				return false, err
			}
			maps.Copy(device, values)
			local[args[0]] = device
			return true, nil
		})
}
