package initcmd

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// maxPreseed bounds a preseed (bytes).
const maxPreseed = 16 << 20

// Run prepares the server as the options say; without any it asks. A preseed is read from in.
func Run(c *client.Client, o *Options, in io.Reader, q *Questions) error {
	if err := o.Check(); err != nil {
		return err
	}
	c = c.UseProject(api.ProjectDefault) // it is the server that is prepared, whichever project the client stands in
	if o.Dump {
		p, err := Dump(c)
		if err != nil {
			return err
		}
		data, err := p.YAML()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(q.Out, "%s\n", data)
		return err
	}
	p, err := preseedFor(c, o, in, q)
	if err != nil {
		return err
	}
	if err := Apply(c, p); err != nil {
		return err
	}
	if o.Auto || o.Minimal {
		tell(q.Out, p)
	}
	return nil
}

// tell says what was made without a question.
func tell(out io.Writer, p *Preseed) {
	for _, pool := range p.StoragePools {
		fmt.Fprintf(out, "Storage pool %s: set up with driver %s\n", pool.Name, pool.Driver)
	}
	for _, n := range p.Networks {
		fmt.Fprintf(out, "Network %s: set up\n", n.Name)
	}
	for _, profile := range p.Profiles {
		for _, name := range slices.Sorted(maps.Keys(profile.Devices)) {
			fmt.Fprintf(out, "Profile %s: device %s added\n", profile.Name, name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Config)) {
		fmt.Fprintf(out, "Configuration: %s set\n", key) // and not to what: one is a password
	}
	if len(p.StoragePools)+len(p.Networks)+len(p.Profiles)+len(p.Config) == 0 {
		fmt.Fprintln(out, "Nothing to do: there is a storage pool and a network")
	}
}

func preseedFor(c *client.Client, o *Options, in io.Reader, q *Questions) (*Preseed, error) {
	switch {
	case o.Preseed:
		data, err := io.ReadAll(io.LimitReader(in, maxPreseed))
		if err != nil {
			return nil, fmt.Errorf("Failed to read from stdin: %w", err) // shown as it is
		}
		return Parse(data)
	case o.Auto || o.Minimal:
		return auto(c, o)
	}
	return interactive(c, q)
}
