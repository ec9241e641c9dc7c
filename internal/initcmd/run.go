package initcmd

import (
	"fmt"
	"io"

	"github.com/berthd/berth/client"
)

// maxPreseed bounds a preseed (bytes).
const maxPreseed = 16 << 20

// Run prepares the server as the options say; without any it asks. A preseed is read from in.
func Run(c *client.Client, o *Options, in io.Reader, q *Questions) error {
	if err := o.Check(); err != nil {
		return err
	}
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
	return Apply(c, p)
}

func preseedFor(c *client.Client, o *Options, in io.Reader, q *Questions) (*Preseed, error) {
	switch {
	case o.Preseed:
		data, err := io.ReadAll(io.LimitReader(in, maxPreseed))
		if err != nil {
			return nil, fmt.Errorf("Failed to read from stdin: %w", err) //nolint:staticcheck // shown as it is
		}
		return Parse(data)
	case o.Auto || o.Minimal:
		return auto(c, o)
	}
	return interactive(c, q)
}
