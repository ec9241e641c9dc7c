package cli

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) configTrustCommand() *cobra.Command {
	remove := c.simple("remove", "[<remote>:]<certificate>", T("Stop trusting a client"), 1, 1, func(args []string) error {
		server, fingerprint, err := c.parse(args[0])
		if err != nil {
			return err
		}
		return server.DeleteCertificate(fingerprint)
	})
	remove.Aliases = []string{"rm"}
	show := c.simple("show", "[<remote>:]<certificate>", T("Print a trusted certificate as YAML"), 1, 1, func(args []string) error {
		server, fingerprint, err := c.parse(args[0])
		if err != nil {
			return err
		}
		if fingerprint == "" {
			return errors.New(T("Missing certificate fingerprint"))
		}
		cert, _, err := server.Certificate(fingerprint)
		if err != nil {
			return err
		}
		return c.printYAML(cert)
	})
	return group("trust", T("Manage who may use a server over the network"), c.trustAddCommand(),
		c.simple("edit", "[<remote>:]<certificate>", T("Change what a trusted client may do, in an editor"), 1, 1, c.trustEdit),
		c.trustListCommand(), c.trustTokensCommand(), remove,
		c.simple("revoke-token", "[<remote>:] <token name>", T("Revoke a token"), 1, 2, c.trustRevoke), show)
}

func (c *App) trustEdit(args []string) error {
	server, fingerprint, err := c.parse(args[0])
	if err != nil {
		return err
	}
	cert, etag, err := server.Certificate(fingerprint)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`The trusted certificate as YAML. Lines that begin with # are left out; so is a change of the fingerprint.`))
	return c.editYAML(help, cert, func(data []byte) error {
		var put api.CertificatePut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return server.UpdateCertificate(cert.Fingerprint, put, etag)
	})
}

func (c *App) trustAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("add", "[<remote>:] [<cert>]"),
		Short: T("Trust a client, by its certificate or by a token for it"),
		Long: T(`The certificate is of type client (default) or metrics. Without one a token is made: the client that shows it has its own
certificate trusted, once. Both can be restricted to projects.`),
	}
	f := cmd.Flags()
	name := f.String("name", "", T("Name to keep the client under")+"``")
	kind := f.String("type", "client", T("What it is for: client or metrics")+"``")
	restricted := f.Bool("restricted", false, T("Let the client into the projects of --projects alone"))
	projects := f.String("projects", "", T("Projects the client may use, with commas between them")+"``")
	cmd.RunE = takes(0, 2, func(args []string) error {
		post := api.CertificatesPost{CertificatePut: api.CertificatePut{Name: *name, Type: *kind, Restricted: *restricted}}
		if *projects != "" && !*restricted {
			return errors.New(T("--projects needs --restricted: without it the client may use all projects"))
		}
		if *projects != "" {
			post.Projects = strings.Split(*projects, ",")
		}
		return c.trustAdd(args, post)
	})
	return cmd
}

func (c *App) trustAdd(args []string, post api.CertificatesPost) error {
	remote, file := "", ""
	switch {
	case len(args) == 2:
		remote, file = args[0], args[1]
	case len(args) == 1 && strings.HasSuffix(args[0], ":"):
		remote = args[0]
	case len(args) == 1:
		file = args[0]
	}
	server, _, err := c.parse(remote)
	if err != nil {
		return err
	}
	if post.Type != "client" && post.Type != "metrics" {
		return fmt.Errorf(T("Unknown certificate type %q"), post.Type)
	}
	if file == "" {
		if post.Type == "metrics" {
			return errors.New(T("Cannot use metrics type certificate when using a token"))
		}
		if post.Name == "" {
			if post.Name, err = c.ask(T("Please provide client name: ")); err != nil {
				return err
			}
		}
		op, err := server.CreateCertificateToken(post)
		if err != nil {
			return err
		}
		token, err := tokenOf(op.State())
		if err != nil {
			return err
		}
		if !c.flagQuiet {
			fmt.Fprintf(c.Out, T("Client %s certificate add token:")+"\n", post.Name)
		}
		fmt.Fprintln(c.Out, token.String())
		return nil
	}
	data, err := c.readCert(file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return errors.New(T("Invalid certificate"))
	}
	if post.Name == "" {
		post.Name = filepath.Base(file)
	}
	post.Certificate = base64.StdEncoding.EncodeToString(block.Bytes)
	return server.CreateCertificate(post)
}

func (c *App) readCert(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(c.In, 1<<20))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return data, nil
}

// tokenOf is the token that an operation shows.
func tokenOf(op api.Operation) (api.CertificateAddToken, error) {
	var t api.CertificateAddToken
	request, ok := op.Metadata["request"].(map[string]any)
	if !ok {
		return t, errors.New(T("Operation is not a certificate token"))
	}
	t.ClientName, _ = request["name"].(string)
	t.Fingerprint, _ = op.Metadata["fingerprint"].(string)
	t.Secret, _ = op.Metadata["secret"].(string)
	if text, ok := op.Metadata["expiresAt"].(string); ok {
		var err error
		if t.ExpiresAt, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return t, fmt.Errorf(T("Failed to parse the expiry of a token: %w"), err)
		}
	}
	list, _ := op.Metadata["addresses"].([]any)
	for _, a := range list {
		if s, ok := a.(string); ok {
			t.Addresses = append(t.Addresses, s)
		}
	}
	if t.Secret == "" || t.Fingerprint == "" {
		return t, errors.New(T("Operation is not a certificate token"))
	}
	return t, nil
}

func (c *App) trustListCommand() *cobra.Command {
	return c.listOf(T("List the clients that a server trusts"), func(server *client.Client, _ string) (header []string, rows [][]string, data any, err error) {
		certs, err := server.Certificates()
		if err != nil {
			return nil, nil, nil, err
		}
		rows = [][]string{}
		for _, cert := range certs {
			row := []string{cert.Type, cert.Name, "", shortFingerprint(cert.Fingerprint), "", ""}
			if block, _ := pem.Decode([]byte(cert.Certificate)); block != nil {
				if parsed, err := x509.ParseCertificate(block.Bytes); err == nil {
					row[2] = parsed.Subject.CommonName
					row[4] = parsed.NotBefore.UTC().Format(layoutLong)
					row[5] = parsed.NotAfter.UTC().Format(layoutLong)
				}
			}
			rows = append(rows, row)
		}
		sortRows(rows)
		header = []string{T("TYPE"), T("NAME"), T("COMMON NAME"), T("FINGERPRINT"), T("ISSUE DATE"), T("EXPIRY DATE")}
		return header, rows, certs, nil
	})
}

// layoutExpiry is how lxc shows when a token expires.
const layoutExpiry = "2006/01/02 15:04 MST"

// shownToken is a token in a list.
type shownToken struct {
	ClientName string `json:"ClientName" yaml:"ClientName"`
	Token      string `json:"Token" yaml:"Token"`
	ExpiresAt  string `json:"ExpiresAt" yaml:"ExpiresAt"`
	id         string
}

func (c *App) tokens(raw string) ([]shownToken, error) {
	server, _, err := c.parse(raw)
	if err != nil {
		return nil, err
	}
	ops, err := server.UseProject(api.ProjectDefault).Operations()
	if err != nil {
		return nil, err
	}
	out := []shownToken{}
	for _, op := range ops {
		if op.Class != "token" || op.StatusCode != api.Running {
			continue
		}
		token, err := tokenOf(op)
		if err != nil {
			continue // another kind of token
		}
		shown := shownToken{ClientName: token.ClientName, Token: token.String(), id: op.ID}
		if !token.ExpiresAt.IsZero() {
			shown.ExpiresAt = token.ExpiresAt.Local().Format(layoutExpiry)
		}
		out = append(out, shown)
	}
	return out, nil
}

func (c *App) trustTokensCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("list-tokens", "[<remote>:]"),
		Short: T("List the tokens that have not been used yet"),
	}
	format := formatFlag(cmd)
	cmd.RunE = takes(0, 1, func(args []string) error {
		tokens, err := c.tokens(first(args))
		if err != nil {
			return err
		}
		rows := [][]string{}
		for _, t := range tokens {
			rows = append(rows, []string{t.ClientName, t.Token, t.ExpiresAt})
		}
		sortRows(rows)
		return c.printTable(*format, []string{T("NAME"), T("TOKEN"), T("EXPIRES AT")}, rows, tokens)
	})
	return cmd
}

func (c *App) trustRevoke(args []string) error {
	raw, name := "", args[len(args)-1]
	if len(args) == 2 {
		raw = args[0]
	}
	tokens, err := c.tokens(raw)
	if err != nil {
		return err
	}
	server, _, err := c.parse(raw)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if t.ClientName == name {
			if err := server.CancelOperation(t.id); err != nil {
				return err
			}
			c.say(T("Certificate add token for %s deleted"), name)
			return nil
		}
	}
	remote, _, err := c.parseRemote(raw)
	if err != nil {
		return err
	}
	return fmt.Errorf(T("No certificate add token for member %s on remote: %s"), name, remote)
}
