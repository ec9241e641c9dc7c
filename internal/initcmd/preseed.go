// Package initcmd prepares a fresh server: it applies and dumps preseeds, and asks the questions that make one.
package initcmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"

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
