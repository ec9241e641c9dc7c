// Package cliconf reads and writes the client's own configuration: remotes, aliases and certificates.
//
// The file has the shape of lxc's config.yml, so that one can be copied to the other.
package cliconf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/berthd/berth/internal/outfile"
)

// Protocols of remotes.
const (
	ProtocolLXD           = "lxd"
	ProtocolSimplestreams = "simplestreams"
)

// maxFile bounds the configuration file (bytes).
const maxFile = 4 << 20

// Remote is one server.
type Remote struct {
	Addr     string `json:"addr" yaml:"addr"`
	AuthType string `json:"auth_type,omitempty" yaml:"auth_type,omitempty"`
	Domain   string `json:"domain,omitempty" yaml:"domain,omitempty"`
	Project  string `json:"project,omitempty" yaml:"project,omitempty"`
	Protocol string `json:"protocol,omitempty" yaml:"protocol,omitempty"`
	Public   bool   `json:"public" yaml:"public"`
	Static   bool   `json:"-" yaml:"-"` // built in: cannot be changed
	Global   bool   `json:"-" yaml:"-"` // of the whole machine: cannot be changed
}

// Conf is the client's configuration.
type Conf struct {
	DefaultRemote string            `yaml:"default-remote"`
	Remotes       map[string]Remote `yaml:"remotes"`
	Aliases       map[string]string `yaml:"aliases,omitempty"` // left out while empty: people append to the file

	dir string
}

// staticRemotes are always there.
func staticRemotes() map[string]Remote {
	return map[string]Remote{"local": {Addr: "unix://", Static: true}}
}

// Dir is the folder of the configuration: $BERTH_CONF, or ~/.config/berth.
func Dir() (string, error) {
	if dir := os.Getenv("BERTH_CONF"); dir != "" {
		return dir, nil
	}
	base, err := os.UserConfigDir()
	if err != nil {
		home, homeErr := os.UserHomeDir()
		if homeErr != nil {
			return "", homeErr
		}
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "berth"), nil
}

// Load reads the configuration in dir. A missing file is an empty one.
func Load(dir string) (*Conf, error) {
	c := &Conf{dir: dir}
	f, err := os.Open(filepath.Join(dir, "config.yml"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		data := []byte{}
		return c, c.parse(data)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	if err := c.parse(data); err != nil {
		return nil, fmt.Errorf("Unable to decode the configuration %s: %w", f.Name(), err) // shown as it is
	}
	return c, nil
}

func (c *Conf) parse(data []byte) error {
	if err := yaml.Unmarshal(data, c); err != nil {
		return err
	}
	if c.Remotes == nil {
		c.Remotes = map[string]Remote{}
	}
	if c.Aliases == nil {
		c.Aliases = map[string]string{}
	}
	for name, r := range staticRemotes() {
		r.Project = c.Remotes[name].Project // the project is the only thing a user may set
		c.Remotes[name] = r
	}
	if c.DefaultRemote == "" {
		c.DefaultRemote = "local"
	}
	return nil
}

// Change reads the configuration anew, has change look at it and change it, and writes it, unless change fails. Other clients that change
// theirs come before or after: what was read when this one began may be old by now.
func (c *Conf) Change(change func() error) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	now, err := Load(c.dir)
	if err != nil {
		return err
	}
	*c = *now
	if err := change(); err != nil {
		return err
	}
	return c.Save()
}

// lock keeps other clients from changing the configuration.
func (c *Conf) lock() (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return nil, err
	}
	if unlock, err = lockFile(filepath.Join(c.dir, "config.lock")); err != nil {
		return nil, fmt.Errorf("lock the configuration: %w", err)
	}
	return unlock, nil
}

// Save writes the configuration.
func (c *Conf) Save() error {
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return err
	}
	out := Conf{DefaultRemote: c.DefaultRemote, Remotes: map[string]Remote{}, Aliases: c.Aliases}
	for name, r := range c.Remotes {
		if r.Global {
			continue
		}
		if r.Static && r.Project == "" && name != "local" {
			continue
		}
		out.Remotes[name] = r
	}
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(out); err != nil {
		return err
	}
	return writeFile(filepath.Join(c.dir, "config.yml"), buf.Bytes(), 0o660)
}

// writeFile replaces a file in one step.
func writeFile(path string, data []byte, mode os.FileMode) error {
	return outfile.WriteFile(path, mode, func(f *outfile.File) error {
		_, err := f.Write(data)
		return err
	})
}

// ConfDir is the folder the configuration was read from.
func (c *Conf) ConfDir() string { return c.dir }

// Remote finds a remote.
func (c *Conf) Remote(name string) (Remote, error) {
	r, ok := c.Remotes[name]
	if !ok {
		return Remote{}, fmt.Errorf("The remote \"%s\" doesn't exist", name) // as lxc says it
	}
	return r, nil
}

// Parse splits "remote:name". Without a colon the default remote is meant.
func (c *Conf) Parse(raw string) (remote, name string, err error) {
	before, after, found := strings.Cut(raw, ":")
	if !found {
		return c.DefaultRemote, raw, nil
	}
	if _, ok := c.Remotes[before]; !ok {
		// "name/path:with:colon" is a name, not a remote.
		if strings.Contains(before, "/") {
			return c.DefaultRemote, raw, nil
		}
		return "", "", fmt.Errorf("The remote \"%s\" doesn't exist", before) // as lxc says it
	}
	return before, after, nil
}

// SocketPath is the socket that an address such as unix:// or unix:///path means.
func SocketPath(addr string) string {
	path, _ := Socket(addr)
	return path
}

// Socket is the socket that an address such as unix:// or unix:///path means, and the project that whoever uses it is in unless they name
// another; empty: the default one.
func Socket(addr string) (path, project string) {
	path = strings.TrimPrefix(strings.TrimPrefix(addr, "unix:"), "//")
	if path != "" {
		return path, ""
	}
	if path := os.Getenv("BERTH_SOCKET"); path != "" {
		return path, ""
	}
	dir := os.Getenv("BERTH_DIR")
	if dir == "" {
		dir = "/var/lib/berth"
	}
	path = filepath.Join(dir, "unix.socket")
	if path, project := userSocket(path); path != "" {
		return path, project
	}
	return path, ""
}

// ServerCertPath is where a remote's accepted certificate is kept.
func (c *Conf) ServerCertPath(remote string) string {
	return filepath.Join(c.dir, "servercerts", remote+".crt")
}

// ServerCert is a remote's accepted certificate (PEM), or empty.
func (c *Conf) ServerCert(remote string) (string, error) {
	data, err := os.ReadFile(c.ServerCertPath(remote))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// RemoveServerCert forgets a remote's certificate, if there is one.
func (c *Conf) RemoveServerCert(remote string) error {
	if err := os.Remove(c.ServerCertPath(remote)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SetServerCert keeps a remote's certificate.
func (c *Conf) SetServerCert(remote, cert string) error {
	if err := os.MkdirAll(filepath.Join(c.dir, "servercerts"), 0o750); err != nil {
		return err
	}
	return writeFile(c.ServerCertPath(remote), []byte(cert), 0o644)
}
