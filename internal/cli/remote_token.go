package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/cliconf"
)

const (
	// addressTime is how long one address of a token may take to answer.
	addressTime = 10 * time.Second
	// addressStagger is how long one goes before the next: servers tell all that they have, of which clients reach some.
	addressStagger = 300 * time.Millisecond
)

// withToken adds the server that a token is of, at whichever of its addresses it answers. Without a name it is the host of that.
func (a *remoteAdd) withToken(name string, token api.CertificateAddToken, text string) error {
	addr, err := reach(background(), token)
	if err != nil {
		return fmt.Errorf(T("Failed to add remote: %w"), err)
	}
	if name == "" {
		if name, _, err = net.SplitHostPort(addr); err != nil {
			return err
		}
		if strings.Contains(name, ":") {
			return errors.New(T("The remote needs a name: its address has colons"))
		}
		if r, ok := a.c.conf.Remotes[name]; ok {
			return fmt.Errorf(T("Remote %s exists as <%s>"), name, r.Addr)
		}
	}
	return a.join(name, "https://"+addr, token, text)
}

// join adds the server at an address if it is the one that the token is of.
func (a *remoteAdd) join(name, addr string, token api.CertificateAddToken, text string) error {
	server, cert, err := a.connect(addr, token.Fingerprint)
	if err != nil {
		return fmt.Errorf(T("Failed to add remote: %w"), err)
	}
	r := cliconf.Remote{Addr: addr, Protocol: a.protocol, AuthType: "tls", Project: a.project}
	return a.login(name, r, server, cert, text)
}

// isFor refuses to send a token to any other server than the one that it is of, whatever the user believes of its certificate.
func (a *remoteAdd) isFor(secret, addr, cert string) error {
	token, err := api.ParseCertificateAddToken(secret)
	if err != nil {
		return nil //nolint:nilerr // it is a password
	}
	if cert == "" { // the system vouches for it
		if cert, err = client.FetchCertificate(background(), addr); err != nil {
			return err
		}
	}
	fingerprint, err := client.Fingerprint(cert)
	if err != nil {
		return err
	}
	if fingerprint != strings.ToLower(token.Fingerprint) {
		return errMismatch(addr)
	}
	return nil
}

func errMismatch(addr string) error {
	return fmt.Errorf(T("Certificate fingerprint mismatch between certificate token and server %q"), addr)
}

// reach finds the address of a token at which a server shows the token's certificate. All are tried, one a little after the other, and the
// first that does wins.
func reach(ctx context.Context, token api.CertificateAddToken) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		addr string
		err  error
	}
	results := make(chan result, len(token.Addresses))
	for n, addr := range token.Addresses {
		go func() {
			late := time.NewTimer(time.Duration(n) * addressStagger)
			defer late.Stop()
			select {
			case <-late.C:
				results <- result{addr, shows(ctx, addr, token.Fingerprint)}
			case <-ctx.Done():
				results <- result{addr, ctx.Err()}
			}
		}()
	}
	var failed []error
	for range token.Addresses {
		r := <-results
		if r.err == nil {
			return r.addr, nil
		}
		failed = append(failed, r.err)
	}
	return "", errors.Join(failed...)
}

// shows fails if the server at an address shows another certificate, or none.
func shows(ctx context.Context, addr, fingerprint string) error {
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	cert, err := client.FetchCertificate(ctx, "https://"+addr)
	if err != nil {
		return err
	}
	got, err := client.Fingerprint(cert)
	if err != nil {
		return err
	}
	if got != strings.ToLower(fingerprint) {
		return errMismatch("https://" + addr)
	}
	return nil
}
