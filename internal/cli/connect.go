package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/cliconf"
)

// parse splits "remote:name" and connects to the remote.
func (c *App) parse(raw string) (server *client.Client, name string, err error) {
	remote, name, err := c.parseRemote(raw)
	if err != nil {
		return nil, "", err
	}
	server, err = c.server(remote)
	return server, name, err
}

// named is parse for commands that need a name; missing says that there is none.
func (c *App) named(raw, missing string) (*client.Client, string, error) {
	server, name, err := c.parse(raw)
	if err == nil && name == "" {
		err = errors.New(missing)
	}
	return server, name, err
}

// parseRemote splits "remote:name" without connecting.
func (c *App) parseRemote(raw string) (remote, name string, err error) {
	if c.flagForceLocal {
		if before, after, found := strings.Cut(raw, ":"); found && before == "local" {
			return "local", after, nil
		}
		return "local", raw, nil
	}
	return c.conf.Parse(raw)
}

// resource is a parsed "remote:name" with its connection.
type resource struct {
	server *client.Client
	remote string
	name   string
}

// parseAll parses each argument; without any it yields the default remote and no name.
func (c *App) parseAll(raws ...string) ([]resource, error) {
	out := make([]resource, 0, len(raws))
	for _, raw := range raws {
		remote, name, err := c.parseRemote(raw)
		if err != nil {
			return nil, err
		}
		server, err := c.server(remote)
		if err != nil {
			return nil, err
		}
		out = append(out, resource{server: server, remote: remote, name: name})
	}
	return out, nil
}

// server connects to a remote, for the project of --project, of $BERTH_PROJECT or of the remote.
func (c *App) server(remote string) (*client.Client, error) {
	conn, ok := c.clients[remote]
	if !ok {
		var err error
		if conn, err = c.connect(remote); err != nil {
			return nil, err
		}
		conn = c.traced(conn)
		c.clients[remote] = conn
	}
	if p := c.projectOf(remote); p != "" {
		conn = conn.UseProject(p)
	}
	return conn, nil
}

// projectOf is the project that commands on a remote are told to work in; empty: none.
func (c *App) projectOf(remote string) string {
	r := c.conf.Remotes[remote]
	own := ""
	if strings.HasPrefix(r.Addr, "unix:") {
		_, own = cliconf.Socket(r.Addr)
	}
	return cmp.Or(c.flagProject, os.Getenv("BERTH_PROJECT"), r.Project, own)
}

// currentProject is the project that commands on a remote work in.
func (c *App) currentProject(remote string) string {
	return cmp.Or(c.projectOf(remote), "default")
}

func (c *App) connect(remote string) (*client.Client, error) {
	r, err := c.conf.Remote(remote)
	if err != nil {
		return nil, err
	}
	if r.Protocol == cliconf.ProtocolSimplestreams {
		return nil, errors.New(T("This client doesn't talk to simplestreams servers itself"))
	}
	if strings.HasPrefix(r.Addr, "unix:") {
		return client.ConnectUnix(cliconf.SocketPath(r.Addr))
	}
	opts, err := c.tlsOptions(remote, !r.Public)
	if err != nil {
		return nil, err
	}
	server, err := client.ConnectHTTPS(r.Addr, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Addr, err)
	}
	return server, nil
}

// tlsOptions are the certificates for talking to a remote.
func (c *App) tlsOptions(remote string, withClientCert bool) (client.Options, error) {
	opts := client.Options{UserAgent: userAgent()}
	var err error
	if opts.ServerCert, err = c.conf.ServerCert(remote); err != nil {
		return opts, err
	}
	if opts.CA, err = c.conf.Authority(); err != nil {
		return opts, err
	}
	if withClientCert {
		opts.ClientCert, opts.ClientKey, err = c.conf.ClientCert(false)
	}
	return opts, err
}
