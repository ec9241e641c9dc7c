package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/internal/cliconf"
)

func (c *App) remoteCommand() *cobra.Command {
	rename := c.simple("rename", "<remote> <new-name>", T("Rename a remote server"), 2, 2, c.remoteRename)
	rename.Aliases = []string{"mv"}
	remove := c.simple("remove", "<remote>", T("Forget a remote server"), 1, 1, c.remoteRemove)
	remove.Aliases = []string{"rm"}
	change := c.simple("switch", "<remote>", T("Choose the server that commands mean by default"), 1, 1, c.remoteSwitch)
	change.Aliases = []string{"set-default"}
	return group("remote", T("Manage the servers that this client knows"),
		c.remoteAddCommand(),
		c.simple("get-default", "", T("Print the server that commands mean by default"), 0, 0, func([]string) error {
			fmt.Fprintln(c.Out, c.conf.DefaultRemote)
			return nil
		}),
		c.remoteListCommand(), rename, remove,
		c.simple("set-url", "<remote> <URL>", T("Change the address of a remote server"), 2, 2, c.remoteSetURL),
		change)
}

// changeable finds a remote that may be changed.
func (c *App) changeable(name string) (cliconf.Remote, error) {
	r, ok := c.conf.Remotes[name]
	if !ok {
		return r, fmt.Errorf(T("Remote %s doesn't exist"), name)
	}
	if r.Static {
		return r, fmt.Errorf(T("Remote %s is static and cannot be modified"), name)
	}
	if r.Global {
		return r, fmt.Errorf(T("Remote %s is global and cannot be removed"), name)
	}
	return r, nil
}

func (c *App) remoteRename(args []string) error {
	old, renamed := args[0], args[1]
	err := c.changeWithCert(renamed, func(setCert func(string) error) error {
		r, err := c.changeable(old)
		if err != nil {
			return err
		}
		if _, ok := c.conf.Remotes[renamed]; ok {
			return fmt.Errorf(T("Remote %s already exists"), renamed)
		}
		if strings.ContainsAny(renamed, ":/") {
			return errors.New(T("Remote names may not contain colons"))
		}
		cert, err := c.conf.ServerCert(old)
		if err != nil {
			return err
		}
		if err := setCert(cert); err != nil {
			return err
		}
		c.conf.Remotes[renamed] = r
		delete(c.conf.Remotes, old)
		if c.conf.DefaultRemote == old {
			c.conf.DefaultRemote = renamed
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.conf.RemoveServerCert(old) // until the new name was saved the old one was the one that counts, and needed it
}

// changeWithCert changes the configuration by a remote that comes, with its certificate; if that fails the certificate does not stay.
func (c *App) changeWithCert(name string, change func(setCert func(string) error) error) error {
	set := false
	err := c.conf.Change(func() error {
		return change(func(cert string) error {
			set = true
			return c.setServerCert(name, cert)
		})
	})
	if err != nil && set {
		err = errors.Join(err, c.conf.RemoveServerCert(name))
	}
	return err
}

// setServerCert keeps the certificate of a remote that is new. One without, as the system trusts it, must not be left with that of an earlier
// remote of its name.
func (c *App) setServerCert(name, cert string) error {
	if cert == "" {
		return c.conf.RemoveServerCert(name)
	}
	if err := c.conf.SetServerCert(name, cert); err != nil {
		return fmt.Errorf(T("Failed to write server cert file %q: %w"), c.conf.ServerCertPath(name), err)
	}
	return nil
}

func (c *App) remoteRemove(args []string) error {
	err := c.conf.Change(func() error {
		if _, err := c.changeable(args[0]); err != nil {
			return err
		}
		if c.conf.DefaultRemote == args[0] {
			return errors.New(T("Can't remove the default remote"))
		}
		delete(c.conf.Remotes, args[0])
		return nil
	})
	if err != nil {
		return err
	}
	return c.conf.RemoveServerCert(args[0])
}

func (c *App) remoteSetURL(args []string) error {
	return c.conf.Change(func() error {
		r, err := c.changeable(args[0])
		if err != nil {
			return err
		}
		if r.Protocol == cliconf.ProtocolSimplestreams {
			r.Addr = args[1] // came with a configuration of lxc's; a path belongs to it
		} else if r.Addr, err = usableAddress(args[1]); err != nil {
			return err
		}
		c.conf.Remotes[args[0]] = r
		return nil
	})
}

// usableAddress is the address of a remote in full, or says why nothing could ever be reached there.
func usableAddress(addr string) (string, error) {
	if strings.HasPrefix(addr, "unix:") || strings.HasPrefix(addr, "/") {
		return "unix://" + cliconf.SocketPath(addr), nil
	}
	return httpsAddress(addr)
}

func (c *App) remoteSwitch(args []string) error {
	return c.conf.Change(func() error {
		if _, ok := c.conf.Remotes[args[0]]; !ok {
			return fmt.Errorf(T("Remote %s doesn't exist"), args[0])
		}
		c.conf.DefaultRemote = args[0]
		return nil
	})
}

func (c *App) remoteListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: T("List the servers that this client knows")}
	format := formatFlag(cmd)
	cmd.RunE = takes(0, 0, func(args []string) error {
		yes := func(b bool) string {
			if b {
				return T("YES")
			}
			return T("NO")
		}
		rows := [][]string{}
		for name, r := range c.conf.Remotes {
			shown := name
			if name == c.conf.DefaultRemote {
				shown += " (" + T("current") + ")"
			}
			protocol := r.Protocol
			if protocol == "" {
				protocol = cliconf.ProtocolLXD
			}
			auth := r.AuthType
			if auth == "" {
				switch {
				case strings.HasPrefix(r.Addr, "unix:"):
					auth = T("file access")
				case protocol == cliconf.ProtocolSimplestreams:
					auth = T("none")
				default:
					auth = "tls"
				}
			}
			rows = append(rows, []string{shown, r.Addr, protocol, auth, yes(r.Public), yes(r.Static), yes(r.Global)})
		}
		sortRows(rows)
		header := []string{T("NAME"), T("URL"), T("PROTOCOL"), T("AUTH TYPE"), T("PUBLIC"), T("STATIC"), T("GLOBAL")}
		return c.printTable(*format, header, rows, c.conf.Remotes)
	})
	return cmd
}
