package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

// openHolder loads an instance or a profile.
type openHolder func(server *client.Client, name string) (*deviceHolder, error)

func (c *App) networkAttachCommand() *cobra.Command {
	return c.nicAttach("attach", "<instance>", T("Connect an instance to a network"), c.instanceHolder)
}

func (c *App) networkAttachProfileCommand() *cobra.Command {
	return c.nicAttach("attach-profile", "<profile>", T("Connect the instances of a profile to a network"), c.profileHolder)
}

func (c *App) networkDetachCommand() *cobra.Command {
	return c.nicDetach("detach", "<instance>", T("Disconnect an instance from a network"), c.instanceHolder)
}

func (c *App) networkDetachProfileCommand() *cobra.Command {
	return c.nicDetach("detach-profile", "<profile>", T("Disconnect the instances of a profile from a network"), c.profileHolder)
}

func (c *App) nicAttach(name, holder, short string, open openHolder) *cobra.Command {
	return &cobra.Command{
		Use:   usage(name, networkArgument, holder, "[<device name>]", "[<interface name>]"),
		Short: short,
		RunE: takes(2, 4, func(args []string) error {
			server, network, err := c.network(args[0], "")
			if err != nil {
				return err
			}
			device, err := deviceFor(server, network)
			if err != nil {
				return err
			}
			deviceName := network
			if len(args) > 2 {
				deviceName = args[2]
			}
			if len(args) > 3 {
				device["name"] = args[3]
			}
			h, err := open(server, args[1])
			if err != nil {
				return err
			}
			if _, ok := h.devices[deviceName]; ok {
				return errors.New(T("The device already exists"))
			}
			h.devices[deviceName] = device
			return h.save()
		}),
	}
}

// deviceFor is the device that connects to a network of the server: by name if it is managed, else by its interface.
func deviceFor(server *client.Client, name string) (map[string]string, error) {
	n, _, err := server.Network(name)
	if err != nil {
		return nil, err
	}
	switch {
	case n.Managed:
		return map[string]string{"type": "nic", "network": name}, nil
	case n.Type == "bridge":
		return map[string]string{"type": "nic", "nictype": "bridged", "parent": name}, nil
	}
	return map[string]string{"type": "nic", "nictype": "macvlan", "parent": name}, nil
}

func (c *App) nicDetach(name, holder, short string, open openHolder) *cobra.Command {
	return &cobra.Command{
		Use:   usage(name, networkArgument, holder, "[<device name>]"),
		Short: short,
		RunE: takes(2, 3, func(args []string) error {
			server, network, err := c.network(args[0], "")
			if err != nil {
				return err
			}
			h, err := open(server, args[1])
			if err != nil {
				return err
			}
			wanted := ""
			if len(args) > 2 {
				wanted = args[2]
			}
			device, err := findNIC(h.devices, network, wanted)
			if err != nil {
				return err
			}
			delete(h.devices, device)
			return h.save()
		}),
	}
}

// findNIC finds the one device that is on a network, or checks that the wanted one is.
func findNIC(devices map[string]map[string]string, network, wanted string) (string, error) {
	on := func(d map[string]string) bool {
		return d["type"] == "nic" && (d["parent"] == network || d["network"] == network)
	}
	if wanted != "" {
		d, ok := devices[wanted]
		switch {
		case !ok:
			return "", errors.New(T("The specified device doesn't exist"))
		case !on(d):
			return "", errors.New(T("The specified device doesn't match the network"))
		}
		return wanted, nil
	}
	for name, d := range devices {
		if !on(d) {
			continue
		}
		if wanted != "" {
			return "", errors.New(T("More than one device matches, specify the device name"))
		}
		wanted = name
	}
	if wanted == "" {
		return "", errors.New(T("No device found for this network"))
	}
	return wanted, nil
}
