package daemon

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/pki"
	"github.com/berthd/berth/internal/serverconfig"
)

// authority is the administrator's, who says whether to trust all of its clients.
type authority struct {
	*pki.Authority
	config *serverconfig.Service
}

// Vouches implements server.Authority.
func (a authority) Vouches(cert *x509.Certificate) bool {
	return a.config.Bool("core.trust_ca_certificates") && a.Authority.Vouches(cert)
}

func (d *Daemon) wireTrust() {
	d.authority = authority{pki.New(d.Root), d.config}
	d.trust = make(chan struct{}, 1)
	d.config.OnChange("core.trust_ca_certificates", func(context.Context, string) (commit, abort func(), err error) {
		return d.trustChanged, func() {}, nil
	})
	d.certs = certificate.New(certificate.Deps{
		Store: d.store, Events: d.Hub, Projects: d.projects, Password: d.config.CheckPassword, Refuses: d.authority.Refuses, Vouches: d.authority.Vouches,
		Changed: d.trustChanged,
		Tokens: certificate.TokenDeps{
			Addresses:   d.https.addresses,
			Fingerprint: d.cert.Fingerprint,
			Secret:      func(id string) (string, error) { return d.cert.Derive("berth certificate add token", id) },
			Expires:     d.tokenExpiry,
			Retire: func(id string) {
				if o, err := d.ops.Get(id); err == nil {
					_ = o.Retire() // one that has ended already is fine
				}
			},
		},
	})
	d.wireIdentities()
	d.certs.Identities = d.identity
	d.projects.Certificates = named{d.certs, d.identity}
	d.parts = append(d.parts, part{name: "certificates", recover: d.openTokens})
}

// trustChanged has the callers looked at who have begun something by rights that they may have no more: also those of a project that was renamed or
// deleted, and those that an authority vouched for.
func (d *Daemon) trustChanged() {
	select {
	case d.trust <- struct{}{}:
	default: // they are about to be
	}
}

func (d *Daemon) followTrust(ctx context.Context) {
	for {
		select {
		case <-d.trust:
			d.server.TrustChanged()
		case <-ctx.Done():
			return
		}
	}
}

// tokenExpiry is when a token expires that is made now; the zero time is never.
func (d *Daemon) tokenExpiry(now time.Time) time.Time {
	age, err := expiry.Parse(d.config.Get("core.remote_token_expiry"))
	if err != nil { // it was checked when it was set
		return now
	}
	return age.After(now)
}

// openTokens shows the tokens again that the daemon before this one issued.
func (d *Daemon) openTokens(ctx context.Context) error {
	tasks, err := d.certs.OpenTokens(ctx)
	for _, task := range tasks {
		o, err := d.ops.Start(ctx, "", task)
		if err != nil {
			return err
		}
		if !d.certs.CheckToken(task.ID) { // it was used in between
			_ = o.Retire()
		}
	}
	return err
}
