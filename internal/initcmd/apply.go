package initcmd

import (
	"errors"
	"fmt"
	"maps"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// applier undoes what it did when a later step fails.
type applier struct {
	c    *client.Client
	undo []func() error
}

// Apply brings the server to what the preseed says: what is missing is made, what is there is changed. If a step fails, those before
// it are undone; what somebody else has changed since stays as they made it.
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
	o := object[map[string]any]{
		name: "the server's configuration",
		get: func() (map[string]any, string, error) {
			server, etag, err := a.c.Server()
			if err != nil {
				return nil, "", err
			}
			return whole(server.Config), etag, nil
		},
		put: func(config map[string]any, etag string) error {
			return a.c.UpdateServer(api.ServerPut{Config: config}, etag)
		},
		back: func(now, before, after map[string]any) map[string]any { return takenBack(now, before, after, values) },
	}
	have, etag, err := o.get()
	if err != nil {
		return fmt.Errorf("Failed to retrieve current server configuration: %w", err) // shown as it is
	}
	put := maps.Clone(have)
	for k, v := range values {
		put[k] = fmt.Sprint(v)
	}
	if err := change(a, o, have, put, etag); err != nil {
		return fmt.Errorf("Failed to update server configuration: %w", err) // shown as it is
	}
	for k := range values {
		if _, secret := have[k].(bool); secret {
			a.later(func() error { return fmt.Errorf("%s: the server does not tell what it was before", k) })
		}
	}
	return nil
}

func (a *applier) pool(want api.StoragePoolsPost) error {
	return a.bring(&named{
		name: fmt.Sprintf("storage pool %q", want.Name), want: &content{want.Description, want.Config, nil},
		get: func() (*content, string, error) {
			s, etag, err := a.c.StoragePool(want.Name)
			if err != nil {
				return nil, "", err
			}
			if want.Driver != "" && s.Driver != want.Driver {
				return nil, "", fmt.Errorf("Storage pool %q is of type %q instead of %q", want.Name, s.Driver, want.Driver) // shown as it is
			}
			return &content{s.Description, s.Config, nil}, etag, nil
		},
		put: func(c *content, etag string) error {
			return a.c.UpdateStoragePool(want.Name, api.StoragePoolPut{Config: c.config, Description: c.description}, etag)
		},
		create: func() error { return a.c.CreateStoragePool(want) },
		remove: func() error { return a.c.DeleteStoragePool(want.Name) },
	})
}

func (a *applier) project(want api.ProjectsPost) error {
	return a.bring(&named{
		name: fmt.Sprintf("local member project %q", want.Name), want: &content{want.Description, want.Config, nil},
		get: func() (*content, string, error) {
			j, etag, err := a.c.ProjectByName(want.Name)
			if err != nil {
				return nil, "", err
			}
			return &content{j.Description, j.Config, nil}, etag, nil
		},
		put: func(c *content, etag string) error {
			return a.c.UpdateProject(want.Name, api.ProjectPut{Config: c.config, Description: c.description}, etag)
		},
		create: func() error { return a.c.CreateProject(want) },
		remove: func() error { return a.c.DeleteProject(want.Name) },
	})
}

func (a *applier) network(want Network) error {
	project := either(want.Project, api.ProjectDefault)
	c := a.c.UseProject(project)
	return a.bring(&named{
		name: fmt.Sprintf("local member network %q", want.Name), in: fmt.Sprintf(" in project %q", project),
		want: &content{want.Description, want.Config, nil},
		get: func() (*content, string, error) {
			n, etag, err := c.Network(want.Name)
			if err != nil {
				return nil, "", err
			}
			return &content{n.Description, n.Config, nil}, etag, nil
		},
		put: func(v *content, etag string) error {
			return c.UpdateNetwork(want.Name, api.NetworkPut{Config: v.config, Description: v.description}, etag)
		},
		create: func() error { return c.CreateNetwork(want.NetworksPost) },
		remove: func() error { return c.DeleteNetwork(want.Name) },
	})
}

func (a *applier) profile(want api.ProfilesPost) error {
	return a.bring(&named{
		name: fmt.Sprintf("profile %q", want.Name), want: &content{want.Description, want.Config, want.Devices},
		get: func() (*content, string, error) {
			p, etag, err := a.c.Profile(want.Name)
			if err != nil {
				return nil, "", err
			}
			return &content{p.Description, p.Config, p.Devices}, etag, nil
		},
		put: func(c *content, etag string) error {
			return a.c.UpdateProfile(want.Name, api.ProfilePut{Config: c.config, Description: c.description, Devices: c.devices}, etag)
		},
		create: func() error { return a.c.CreateProfile(want) },
		remove: func() error { return a.c.DeleteProfile(want.Name) },
	})
}

// named is a pool, project, network or profile, and what the preseed wants in it.
type named struct {
	name, in       string // as errors call it, and, of one that is made, where
	want           *content
	get            func() (*content, string, error)
	put            func(c *content, etag string) error
	create, remove func() error
}

// bring makes what is missing and changes what is there.
func (a *applier) bring(n *named) error {
	o := n.object()
	have, etag, err := o.get()
	if api.IsNotFound(err) {
		if err := n.create(); err != nil {
			return fmt.Errorf("Failed to create %s%s: %w", n.name, n.in, err) // shown as it is
		}
		made(a, o, n.remove)
		return nil
	}
	if err != nil {
		return err
	}
	put := &content{either(n.want.description, have.description), merged(have.config, n.want.config), maps.Clone(have.devices)}
	for name, device := range n.want.devices {
		put.devices[name] = merged(have.devices[name], device)
	}
	if err := change(a, o, have, put, etag); err != nil {
		return fmt.Errorf("Failed to update %s: %w", n.name, err) // shown as it is
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
