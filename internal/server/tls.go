package server

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/request"
)

// TLSConfig is how the daemon speaks TLS: version 1.2 with elliptic-curve ciphers, or 1.3. Clients may show a certificate;
// whether it is trusted is found out for each request, so that trust taken away ends at once.
func TLSConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequestClientCert,
		MinVersion:   tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
}

// NewTLSListener speaks TLS over l.
func NewTLSListener(l net.Listener, cert tls.Certificate) net.Listener {
	return tls.NewListener(pacedListener{l}, TLSConfig(cert))
}

// TrustStore knows the trusted certificates.
type TrustStore interface {
	Trusted(cert *x509.Certificate) (api.Certificate, bool)
}

// TLSAuth trusts callers by the certificate they show.
type TLSAuth struct {
	Store TrustStore
	// Authority may be nil.
	Authority Authority
	// Identities may be nil.
	Identities Identities
}

// Identities knows the certificates of clients whose rights come of groups.
type Identities interface {
	Trusted(cert *x509.Certificate) (rights access.Rights, ok bool)
}

// Authority is the certificate authority of a server that has one.
type Authority interface {
	// Refuses tells why the holder of a certificate is kept out, whether the store has it or not.
	Refuses(cert *x509.Certificate) error
	// Vouches tells whether a certificate is trusted that the store has not.
	Vouches(cert *x509.Certificate) bool
}

// Authenticate implements Authenticator. An unknown caller is told apart by its address alone.
func (a TLSAuth) Authenticate(r *http.Request) request.Caller {
	caller := request.Caller{Protocol: "tls", Address: r.RemoteAddr}
	if r.TLS == nil {
		return caller
	}
	for _, cert := range r.TLS.PeerCertificates[:min(1, len(r.TLS.PeerCertificates))] {
		caller.Username = certificate.Fingerprint(cert)
		if a.Authority != nil && a.Authority.Refuses(cert) != nil {
			return caller
		}
		if known, ok := a.Store.Trusted(cert); ok {
			caller.Listed = true
			caller.Trusted, caller.Rights = certificate.RightsOf(known)
			return caller
		}
		if a.Identities != nil {
			if rights, ok := a.Identities.Trusted(cert); ok {
				caller.Trusted, caller.Rights, caller.ByGroups = true, rights, true
				return caller
			}
		}
		if a.signed(cert) {
			caller.Trusted, caller.Rights = true, access.Full()
		}
	}
	return caller
}

func (a TLSAuth) signed(cert *x509.Certificate) bool {
	return a.Authority != nil && a.Authority.Vouches(cert)
}
