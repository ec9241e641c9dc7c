// Package initcmd prepares a fresh server: it applies and dumps preseeds, and asks the questions that make one.
package initcmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"

	"go.yaml.in/yaml/v3"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// Preseed describes a server's configuration, pools, networks, profiles and projects, in the shape of LXD's preseed files.
type Preseed struct {
	Config       map[string]any         `yaml:"config"`
	Networks     []Network              `yaml:"networks"`
	StoragePools []api.StoragePoolsPost `yaml:"storage_pools"`
	Profiles     []api.ProfilesPost     `yaml:"profiles"`
	Projects     []api.ProjectsPost     `yaml:"projects,omitempty"`
}

// Network is a network and the project that it belongs to.
type Network struct {
	api.NetworksPost `yaml:",inline"`
	Project          string `yaml:"project"`
}

// Parse reads a preseed; unknown fields are errors, as a typing error there would be found much later.
func Parse(data []byte) (*Preseed, error) {
	var p Preseed
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&p); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("Failed to parse the preseed: %w", err) // shown as it is
	}
	return &p, nil
}

// YAML encodes a preseed.
func (p *Preseed) YAML() ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Dump describes the server as a preseed.
func Dump(c *client.Client) (*Preseed, error) {
	server, _, err := c.Server()
	if err != nil {
		return nil, err
	}
	p := &Preseed{Config: server.Config, Networks: []Network{}, StoragePools: []api.StoragePoolsPost{}, Profiles: []api.ProfilesPost{}}
	networks, err := c.Networks()
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		if n.Managed {
			p.Networks = append(p.Networks, Network{NetworksPost: api.NetworksPost{NetworkPut: n.NetworkPut, Name: n.Name, Type: n.Type}, Project: api.ProjectDefault})
		}
	}
	pools, err := c.StoragePools()
	if err != nil {
		return nil, err
	}
	for _, s := range pools {
		p.StoragePools = append(p.StoragePools, api.StoragePoolsPost{StoragePoolPut: s.StoragePoolPut, Name: s.Name, Driver: s.Driver})
	}
	profiles, err := c.Profiles()
	if err != nil {
		return nil, err
	}
	for _, f := range profiles {
		p.Profiles = append(p.Profiles, api.ProfilesPost{ProfilePut: f.ProfilePut, Name: f.Name})
	}
	projects, err := c.Projects()
	if err != nil {
		return nil, err
	}
	for _, j := range projects {
		p.Projects = append(p.Projects, api.ProjectsPost{ProjectPut: j.ProjectPut, Name: j.Name})
	}
	return p, nil
}

// applier undoes what it did when a later step fails.
type applier struct {
	c    *client.Client
	undo []func() error
}

// Apply brings the server to what the preseed says: what is missing is made, what is there is changed. If a step fails, those before
// it are undone.
func Apply(c *client.Client, p *Preseed) error {
	a := &applier{c: c}
	err := a.apply(p)
	if err == nil {
		return nil
	}
	for i := len(a.undo) - 1; i >= 0; i-- {
		if undoErr := a.undo[i](); undoErr != nil {
			err = errors.Join(err, fmt.Errorf("undo: %w", undoErr))
		}
	}
	return err
}

func (a *applier) apply(p *Preseed) error {
	if len(p.Config) > 0 {
		if err := a.config(p.Config); err != nil {
			return err
		}
	}
	for _, s := range p.StoragePools {
		if err := a.pool(s); err != nil {
			return err
		}
	}
	// Projects may limit what networks and profiles can be: they come before both.
	for _, j := range p.Projects {
		if err := a.project(j); err != nil {
			return err
		}
	}
	for _, n := range p.Networks {
		if err := a.network(n); err != nil {
			return err
		}
	}
	for _, f := range p.Profiles {
		if err := a.profile(f); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) later(fn func() error) { a.undo = append(a.undo, fn) }

func (a *applier) config(values map[string]any) error {
	server, etag, err := a.c.Server()
	if err != nil {
		return fmt.Errorf("Failed to retrieve current server configuration: %w", err) // shown as it is
	}
	old := api.ServerPut{Config: maps.Clone(server.Config)}
	put := api.ServerPut{Config: maps.Clone(server.Config)}
	if put.Config == nil {
		put.Config = map[string]any{}
	}
	for k, v := range values {
		put.Config[k] = fmt.Sprint(v)
	}
	a.later(func() error { return a.c.UpdateServer(old, "") })
	if err := a.c.UpdateServer(put, etag); err != nil {
		return fmt.Errorf("Failed to update server configuration: %w", err) // shown as it is
	}
	return nil
}

func (a *applier) pool(want api.StoragePoolsPost) error {
	have, etag, err := a.c.StoragePool(want.Name)
	if api.IsNotFound(err) {
		if err := a.c.CreateStoragePool(want); err != nil {
			return fmt.Errorf("Failed to create storage pool %q: %w", want.Name, err) // shown as it is
		}
		a.later(func() error { return a.c.DeleteStoragePool(want.Name) })
		return nil
	}
	if err != nil {
		return err
	}
	if want.Driver != "" && have.Driver != want.Driver {
		return fmt.Errorf("Storage pool %q is of type %q instead of %q", want.Name, have.Driver, want.Driver) // shown as it is
	}
	old := have.StoragePoolPut
	put := api.StoragePoolPut{Config: merged(have.Config, want.Config), Description: either(want.Description, have.Description)}
	a.later(func() error { return a.c.UpdateStoragePool(want.Name, old, "") })
	if err := a.c.UpdateStoragePool(want.Name, put, etag); err != nil {
		return fmt.Errorf("Failed to update storage pool %q: %w", want.Name, err) // shown as it is
	}
	return nil
}

func (a *applier) project(want api.ProjectsPost) error {
	have, etag, err := a.c.ProjectByName(want.Name)
	if api.IsNotFound(err) {
		if err := a.c.CreateProject(want); err != nil {
			return fmt.Errorf("Failed to create local member project %q: %w", want.Name, err) // shown as it is
		}
		a.later(func() error { return a.c.DeleteProject(want.Name) })
		return nil
	}
	if err != nil {
		return err
	}
	old := have.ProjectPut
	put := api.ProjectPut{Config: merged(have.Config, want.Config), Description: either(want.Description, have.Description)}
	a.later(func() error { return a.c.UpdateProject(want.Name, old, "") })
	if err := a.c.UpdateProject(want.Name, put, etag); err != nil {
		return fmt.Errorf("Failed to update local member project %q: %w", want.Name, err) // shown as it is
	}
	return nil
}

func (a *applier) network(want Network) error {
	c := a.c
	if want.Project != "" && want.Project != api.ProjectDefault {
		c = c.UseProject(want.Project)
	}
	have, etag, err := c.Network(want.Name)
	if api.IsNotFound(err) {
		if err := c.CreateNetwork(want.NetworksPost); err != nil {
			return fmt.Errorf("Failed to create local member network %q in project %q: %w", want.Name, either(want.Project, api.ProjectDefault), err) // shown as it is
		}
		a.later(func() error { return c.DeleteNetwork(want.Name) })
		return nil
	}
	if err != nil {
		return err
	}
	old := have.NetworkPut
	put := api.NetworkPut{Config: merged(have.Config, want.Config), Description: either(want.Description, have.Description)}
	a.later(func() error { return c.UpdateNetwork(want.Name, old, "") })
	if err := c.UpdateNetwork(want.Name, put, etag); err != nil {
		return fmt.Errorf("Failed to update local member network %q: %w", want.Name, err) // shown as it is
	}
	return nil
}

func (a *applier) profile(want api.ProfilesPost) error {
	have, etag, err := a.c.Profile(want.Name)
	if api.IsNotFound(err) {
		if err := a.c.CreateProfile(want); err != nil {
			return fmt.Errorf("Failed to create profile %q: %w", want.Name, err) // shown as it is
		}
		a.later(func() error { return a.c.DeleteProfile(want.Name) })
		return nil
	}
	if err != nil {
		return err
	}
	old := have.ProfilePut
	put := api.ProfilePut{Config: merged(have.Config, want.Config), Description: either(want.Description, have.Description), Devices: map[string]map[string]string{}}
	maps.Copy(put.Devices, have.Devices)
	for name, device := range want.Devices {
		put.Devices[name] = merged(have.Devices[name], device)
	}
	a.later(func() error { return a.c.UpdateProfile(want.Name, old, "") })
	if err := a.c.UpdateProfile(want.Name, put, etag); err != nil {
		return fmt.Errorf("Failed to update profile %q: %w", want.Name, err) // shown as it is
	}
	return nil
}

func merged(base, top map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, base)
	maps.Copy(out, top)
	return out
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
