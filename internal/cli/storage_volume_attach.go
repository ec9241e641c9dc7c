package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

// zeroTime is "never" in the API.
var zeroTime time.Time

// deviceHolder is an instance or a profile: something with devices that change shows to the server.
type deviceHolder struct {
	devices map[string]map[string]string
	save    func() error
}

func (c *App) instanceHolder(server *client.Client, name string) (*deviceHolder, error) {
	instance, etag, err := server.Instance(name)
	if err != nil {
		return nil, err
	}
	if instance.Devices == nil {
		instance.Devices = map[string]map[string]string{}
	}
	return &deviceHolder{instance.Devices, func() error {
		return c.waitStarted(server.UpdateInstance(name, instance.InstancePut, etag))
	}}, nil
}

func (c *App) profileHolder(server *client.Client, name string) (*deviceHolder, error) {
	profile, etag, err := server.Profile(name)
	if err != nil {
		return nil, err
	}
	if profile.Devices == nil {
		profile.Devices = map[string]map[string]string{}
	}
	return &deviceHolder{profile.Devices, func() error {
		return server.UpdateProfile(name, profile.ProfilePut, etag)
	}}, nil
}

func (c *App) volumeAttachCommand() *cobra.Command {
	return c.attachCommand("attach", "<instance>", T("Give an instance a volume as a disk"), c.instanceHolder)
}

func (c *App) volumeAttachProfileCommand() *cobra.Command {
	return c.attachCommand("attach-profile", "<profile>", T("Give the instances of a profile a volume as a disk"), c.profileHolder)
}

func (c *App) attachCommand(name, holder, short string, open func(*client.Client, string) (*deviceHolder, error)) *cobra.Command {
	return &cobra.Command{
		Use:   usage(name, poolArgument, volumeArgument, holder, "[<device name>]", "[<path>]"),
		Short: short,
		RunE: takes(3, 5, func(args []string) error {
			server, pool, err := c.pool(args[0], "")
			if err != nil {
				return err
			}
			v := parseVolume(args[1])
			if v.kind != "custom" {
				return errors.New(T(`Only "custom" volumes can be attached to instances`))
			}
			device := map[string]string{"type": "disk", "pool": pool, "source": v.name}
			deviceName := v.name
			switch len(args) {
			case 4: // a path alone
				device["path"] = args[3]
			case 5:
				deviceName, device["path"] = args[3], args[4]
			}
			h, err := open(server, args[2])
			if err != nil {
				return err
			}
			if _, ok := h.devices[deviceName]; ok {
				return fmt.Errorf(T("Device already exists: %s"), deviceName)
			}
			h.devices[deviceName] = device
			return h.save()
		}),
	}
}

func (c *App) volumeDetachCommand() *cobra.Command {
	return c.detachCommand("detach", "<instance>", T("Take a volume from an instance"), c.instanceHolder)
}

func (c *App) volumeDetachProfileCommand() *cobra.Command {
	return c.detachCommand("detach-profile", "<profile>", T("Take a volume from the instances of a profile"), c.profileHolder)
}

func (c *App) detachCommand(name, holder, short string, open func(*client.Client, string) (*deviceHolder, error)) *cobra.Command {
	return &cobra.Command{
		Use:   usage(name, poolArgument, volumeArgument, holder, "[<device name>]"),
		Short: short,
		RunE: takes(3, 4, func(args []string) error {
			server, pool, err := c.pool(args[0], "")
			if err != nil {
				return err
			}
			h, err := open(server, args[2])
			if err != nil {
				return err
			}
			wanted := ""
			if len(args) == 4 {
				wanted = args[3]
			}
			found, err := findVolumeDevice(h.devices, pool, parseVolume(args[1]).name, wanted)
			if err != nil {
				return err
			}
			delete(h.devices, found)
			return h.save()
		}),
	}
}

// findVolumeDevice finds the one device that a volume is attached by.
func findVolumeDevice(devices map[string]map[string]string, pool, volume, wanted string) (string, error) {
	if wanted != "" {
		d, ok := devices[wanted]
		switch {
		case !ok:
			return "", errors.New(T("The specified device doesn't exist"))
		case d["type"] != "disk" || d["pool"] != pool || d["source"] != volume:
			return "", errors.New(T("The specified device doesn't match the disk"))
		}
		return wanted, nil
	}
	found := ""
	for name, d := range devices {
		if d["type"] == "disk" && d["pool"] == pool && d["source"] == volume {
			if found != "" {
				return "", errors.New(T("More than one device matches, specify the device name"))
			}
			found = name
		}
	}
	if found == "" {
		return "", errors.New(T("No device found for this storage volume"))
	}
	return found, nil
}
