package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/cliconf"
)

const defaultPort = "8443"

type remoteAdd struct {
	c                                                    *App
	accept, public                                       bool
	password, token, protocol, authType, domain, project string

	cert string // of the server, if the user trusts it and the system does not
}

func (c *App) remoteAddCommand() *cobra.Command {
	a := &remoteAdd{c: c}
	cmd := &cobra.Command{
		Use:   usage("add", "[<new-name>] <IP|FQDN|URL|token>"),
		Short: T("Make a server known to this client"),
		Long:  T("The address is https://HOST[:PORT], or unix: and the path of a socket. A token has the address in it."),
		RunE:  a.run,
	}
	f := cmd.Flags()
	f.BoolVar(&a.accept, "accept-certificate", false, T("Trust the certificate that the server shows, without asking"))
	f.StringVar(&a.password, "password", "", T("Trust password of the server")+"``")
	f.StringVar(&a.token, "token", "", T("Token of the server, where none of the addresses in it leads there")+"``")
	f.StringVar(&a.protocol, "protocol", "", T("What the server speaks: lxd")+"``")
	f.StringVar(&a.authType, "auth-type", "", T("How to log in: tls")+"``")
	f.StringVar(&a.domain, "domain", "", T("Domain for Candid")+"``")
	f.StringVar(&a.project, "project", "", T("Project of the server that commands mean by default")+"``")
	f.BoolVar(&a.public, "public", false, T("Use the server without logging in, for its public images"))
	return cmd
}

func (a *remoteAdd) run(cmd *cobra.Command, args []string) error {
	if done, err := checkArgs(cmd, args, 1, 2); done {
		return err
	}
	name, addr := args[0], args[len(args)-1]
	text := strings.Trim(addr, `"`)
	token, notToken := api.ParseCertificateAddToken(text)
	if len(args) == 1 {
		name = hostOf(addr)
		if notToken == nil {
			name = "" // that of the host that answers
		}
	}
	if strings.Contains(name, ":") {
		return errors.New(T("Remote names may not contain colons"))
	}
	if a.c.flagProject != "" && a.project == "" {
		a.project = a.c.flagProject
	}
	if a.protocol == "" {
		a.protocol = cliconf.ProtocolLXD
	}
	switch a.protocol {
	case cliconf.ProtocolLXD:
	case cliconf.ProtocolSimplestreams:
		return errors.New(T("Berth cannot use simplestreams servers yet: the remote would be good for nothing"))
	default:
		return fmt.Errorf(T("Invalid protocol: %s"), a.protocol)
	}
	if a.domain != "" {
		return errors.New(T("--domain is for servers that use Candid, which Berth does not support"))
	}
	if a.authType != "" && a.authType != "tls" {
		return fmt.Errorf(T("Authentication type '%s' not supported by server"), a.authType)
	}
	if r, ok := a.c.conf.Remotes[name]; ok {
		return fmt.Errorf(T("Remote %s exists as <%s>"), name, r.Addr)
	}
	if notToken == nil {
		if a.token != "" || a.password != "" {
			return errors.New(T("A token is given already in the place of the address"))
		}
		return a.withToken(name, token, text)
	}
	if a.token == "" {
		return a.add(name, addr)
	}
	token, err := api.ParseCertificateAddToken(a.token)
	if err != nil {
		return err
	}
	full, err := httpsAddress(addr)
	if err != nil {
		return err
	}
	return a.join(name, full, token, a.token)
}

// hostOf makes a remote's name of its address.
func hostOf(addr string) string {
	if full, err := httpsAddress(addr); err == nil {
		if u, err := url.Parse(full); err == nil && net.ParseIP(u.Hostname()) == nil {
			return u.Hostname()
		}
	}
	return addr
}

// add adds a remote by its address. Until all is well, nothing is written.
func (a *remoteAdd) add(name, addr string) error {
	r := cliconf.Remote{Protocol: a.protocol, Public: a.public, AuthType: a.authType, Domain: a.domain, Project: a.project}
	if r.AuthType == "" && !r.Public {
		r.AuthType = "tls"
	}
	if strings.HasPrefix(addr, "unix:") || strings.HasPrefix(addr, "/") {
		r.Addr = "unix://" + cliconf.SocketPath(addr)
		server, err := client.ConnectUnix(cliconf.SocketPath(addr))
		if err != nil {
			return err
		}
		server = a.c.traced(server)
		if _, _, err := server.Server(); err != nil {
			return err
		}
		return a.finish(name, r, server)
	}
	full, err := httpsAddress(addr)
	if err != nil {
		return err
	}
	r.Addr = full
	server, cert, err := a.connect(full, "")
	if err != nil {
		return err
	}
	return a.login(name, r, server, cert, a.password)
}

// httpsAddress completes host, host:port or URL.
func httpsAddress(addr string) (string, error) {
	if !strings.Contains(addr, "://") {
		addr = "https://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" {
		return "", fmt.Errorf(T("Unsupported protocol of %q: only https:// and unix: work"), addr)
	}
	if u.Hostname() == "" {
		return "", fmt.Errorf(T("%q names no host"), addr)
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(strings.Trim(u.Hostname(), "[]"), defaultPort)
	}
	return "https://" + host, nil
}

// connect trusts the server's certificate if the system does, if it is the expected one, or if the user says so. The certificate to keep comes back, empty when the system trusts it.
func (a *remoteAdd) connect(addr, expected string) (*client.Client, string, error) {
	opts := client.Options{UserAgent: userAgent()}
	var err error
	if opts.CA, err = a.c.conf.Authority(); err != nil {
		return nil, "", err
	}
	if !a.public {
		if !a.c.conf.HasClientCert() && !a.c.flagQuiet {
			fmt.Fprintln(a.c.Err, T("Generating a client certificate. This may take a minute..."))
		}
		if opts.ClientCert, opts.ClientKey, err = a.c.conf.ClientCert(true); err != nil {
			return nil, "", err
		}
	}
	if expected == "" {
		if server, err := client.ConnectHTTPS(addr, opts); err == nil {
			server = a.c.traced(server)
			if _, _, err := server.Server(); err == nil {
				return server, "", nil
			}
		}
	}
	cert, err := client.FetchCertificate(background(), addr)
	if err != nil {
		return nil, "", err
	}
	fingerprint, err := client.Fingerprint(cert)
	if err != nil {
		return nil, "", err
	}
	switch {
	case expected != "" && strings.ToLower(expected) != fingerprint:
		return nil, "", errMismatch(addr)
	case expected == "" && !a.accept:
		if err := a.confirm(fingerprint); err != nil {
			return nil, "", err
		}
	}
	opts.ServerCert = cert
	server, err := client.ConnectHTTPS(addr, opts)
	if err != nil {
		return nil, "", err
	}
	return a.c.traced(server), cert, nil
}

func (a *remoteAdd) confirm(fingerprint string) error {
	fmt.Fprintf(a.c.Out, T("Certificate fingerprint: %s")+"\n", fingerprint)
	answer, err := a.c.ask(T("ok (y/n/[fingerprint])?") + " ")
	if err != nil {
		return err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	if answer == strings.ToLower(fingerprint) || answer == "y" || answer == "yes" {
		return nil
	}
	if answer == "" || answer == "n" || answer == "no" {
		return errors.New(T("Server certificate NACKed by user"))
	}
	return errors.New(T("Server certificate doesn't match the fingerprint"))
}

// login has this client's certificate trusted, with a password or a token's secret.
func (a *remoteAdd) login(name string, r cliconf.Remote, server *client.Client, cert, secret string) error {
	info, _, err := server.Server()
	if err != nil {
		return err
	}
	if info.Public {
		r.Public = true
	}
	if !r.Public && info.Auth != "trusted" {
		if secret == "" {
			if secret, err = a.askPassword(name); err != nil {
				return err
			}
		}
		if err := a.isFor(secret, r.Addr, cert); err != nil {
			return err
		}
		if token, err := api.ParseCertificateAddToken(secret); err == nil && token.Type == api.IdentityClient {
			if err := server.CreateIdentityTLS(api.IdentitiesTLSPost{TrustToken: secret}); err != nil {
				return err
			}
		} else if err := server.CreateCertificate(api.CertificatesPost{Password: secret, CertificatePut: api.CertificatePut{Type: "client"}}); err != nil && !api.IsConflict(err) {
			return err
		}
		if info, _, err = server.Server(); err != nil {
			return err
		}
		if info.Auth != "trusted" {
			return errors.New(T("Server doesn't trust us after authentication"))
		}
		a.c.say(T("Client certificate now trusted by server: %s"), name)
	}
	a.cert = cert
	return a.finish(name, r, server)
}

func (a *remoteAdd) askPassword(name string) (string, error) {
	fmt.Fprintf(a.c.Out, T("Admin password (or token) for %s:")+" ", name)
	if f := fileOf(a.c.In); isTerminal(f) {
		data, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.c.Out)
		return string(data), err
	}
	return a.c.readLine()
}

// finish finds the project and writes the remote.
func (a *remoteAdd) finish(name string, r cliconf.Remote, server *client.Client) error {
	if r.Public {
		r.Project = ""
		return a.save(name, r)
	}
	if r.Project == "" {
		r.Project = api.ProjectDefault
		projects, err := server.Projects()
		if err == nil && len(projects) == 1 {
			r.Project = projects[0].Name // a restricted client sees its own only
		}
	} else if _, _, err := server.ProjectByName(r.Project); err != nil {
		return err
	}
	return a.save(name, r)
}

func (a *remoteAdd) save(name string, r cliconf.Remote) error {
	return a.c.changeWithCert(name, func(setCert func(string) error) error {
		if r, ok := a.c.conf.Remotes[name]; ok { // since the server was asked
			return fmt.Errorf(T("Remote %s exists as <%s>"), name, r.Addr)
		}
		if err := setCert(a.cert); err != nil {
			return err
		}
		a.c.conf.Remotes[name] = r
		return nil
	})
}
