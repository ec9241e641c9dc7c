package initcmd

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// DefaultPort is where a server listens unless told otherwise.
const DefaultPort = 8443

// Options are what a run without questions is told.
type Options struct {
	Auto, Minimal, Preseed, Dump bool

	NetworkAddress string
	NetworkPort    int // -1: not given
	StorageBackend string
	StorageDevice  string
	StorageLoop    int // GB; -1: not given
	StoragePool    string
	TrustPassword  string
}

// Check finds options that cannot go together.
func (o *Options) Check() error {
	modes := []struct {
		on   bool
		name string
	}{{o.Auto, "--auto"}, {o.Preseed, "--preseed"}, {o.Minimal, "--minimal"}, {o.Dump, "--dump"}}
	for i, a := range modes {
		for _, b := range modes[i+1:] {
			if a.on && b.on {
				return fmt.Errorf("Can't use %s and %s together", a.name, b.name) // shown as it is
			}
		}
	}
	flags := o.NetworkAddress != "" || o.NetworkPort != -1 || o.StorageBackend != "" || o.StorageDevice != "" || o.StorageLoop != -1 || o.StoragePool != "" || o.TrustPassword != ""
	if !o.Auto && flags {
		return errors.New("Configuration flags require --auto") // shown as it is
	}
	return nil
}

// auto makes a preseed from the options and from what the server has.
func auto(c *client.Client, o *Options) (*Preseed, error) {
	server, _, err := c.Server()
	if err != nil {
		return nil, err
	}
	if err := o.checkAuto(server); err != nil {
		return nil, err
	}
	p := &Preseed{Config: map[string]any{}}
	if o.NetworkAddress != "" {
		port := o.NetworkPort
		if port == -1 {
			port = DefaultPort
		}
		p.Config["core.https_address"] = net.JoinHostPort(strings.Trim(o.NetworkAddress, "[]"), strconv.Itoa(port))
		if o.TrustPassword != "" {
			p.Config["core.trust_password"] = o.TrustPassword
		}
	}
	devices := map[string]map[string]string{}
	if err := o.autoStorage(c, p, devices); err != nil {
		return nil, err
	}
	if err := o.autoNetwork(c, p, devices); err != nil {
		return nil, err
	}
	if len(devices) > 0 {
		p.Profiles = []api.ProfilesPost{{Name: api.ProjectDefault, ProfilePut: api.ProfilePut{Devices: devices}}}
	}
	return p, nil
}

func (o *Options) checkAuto(server *api.Server) error {
	if o.StorageBackend != "" && !slices.Contains(drivers(server), o.StorageBackend) {
		return fmt.Errorf("The requested backend '%s' isn't available on your system", o.StorageBackend) // shown as it is
	}
	if (o.StorageBackend == "" || o.StorageBackend == "dir") && (o.StorageLoop != -1 || o.StorageDevice != "" || (o.StoragePool != "" && o.StorageBackend == "dir")) {
		return errors.New("None of --storage-pool, --storage-create-device or --storage-create-loop may be used with the 'dir' backend") // shown as it is
	}
	if o.StorageLoop != -1 && o.StorageDevice != "" {
		return errors.New("Only one of --storage-create-device or --storage-create-loop can be specified") // shown as it is
	}
	if o.NetworkAddress == "" {
		if o.NetworkPort != -1 {
			return errors.New("--network-port can't be used without --network-address")
		}
		if o.TrustPassword != "" {
			return errors.New("--trust-password can't be used without --network-address")
		}
	}
	return nil
}

func (o *Options) autoStorage(c *client.Client, p *Preseed, devices map[string]map[string]string) error {
	pools, err := c.StoragePools()
	if err != nil {
		return err
	}
	if len(pools) > 0 && o.StorageBackend == "" {
		return nil
	}
	pool := api.StoragePoolsPost{Name: "default", Driver: either(o.StorageBackend, "dir")}
	pool.Config = map[string]string{}
	switch {
	case o.StorageDevice != "":
		pool.Config["source"] = o.StorageDevice
	case o.StorageLoop > 0:
		pool.Config["size"] = strconv.Itoa(o.StorageLoop) + "GiB"
	default:
		pool.Config["source"] = o.StoragePool
	}
	if pool.Config["source"] == "" {
		delete(pool.Config, "source")
	}
	p.StoragePools = []api.StoragePoolsPost{pool}
	profile, _, err := c.Profile(api.ProjectDefault)
	if err != nil {
		return err
	}
	if rootDevice(profile.Devices) == "" {
		devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": pool.Name}
	}
	return nil
}

func (o *Options) autoNetwork(c *client.Client, p *Preseed, devices map[string]map[string]string) error {
	networks, err := c.Networks()
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, n := range networks {
		taken[n.Name] = true
		if n.Managed && n.Type == "bridge" {
			return nil
		}
	}
	name := unused(BridgeName, func(name string) bool { return taken[name] })
	p.Networks = []Network{{NetworksPost: api.NetworksPost{Name: name, Type: "bridge"}, Project: api.ProjectDefault}}
	profile, _, err := c.Profile(api.ProjectDefault)
	if err != nil {
		return err
	}
	if _, ok := profile.Devices["eth0"]; !ok {
		devices["eth0"] = map[string]string{"type": "nic", "name": "eth0", "network": name}
	}
	return nil
}

// unused is a name, or, if that one is taken, the first of those with another number behind it that is not.
func unused(name string, taken func(string) bool) string {
	base := strings.TrimRight(name, "0123456789")
	for i := 1; taken(name); i++ {
		name = base + strconv.Itoa(i)
	}
	return name
}

// BridgeName is what the first bridge is called.
const BridgeName = "berthbr0"

func rootDevice(devices map[string]map[string]string) string {
	for name, d := range devices {
		if d["type"] == "disk" && d["path"] == "/" {
			return name
		}
	}
	return ""
}

// drivers lists the storage drivers that work on the server.
func drivers(server *api.Server) []string {
	var out []string
	for _, d := range server.Environment.StorageSupportedDriver {
		if !d.Remote {
			out = append(out, d.Name)
		}
	}
	if len(out) == 0 {
		out = []string{"dir"}
	}
	return out
}
