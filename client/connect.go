package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// dialTimeout bounds a connection attempt.
const dialTimeout = 30 * time.Second

// Options are for ConnectHTTPS. The zero value trusts the system's certificate authorities and shows no certificate.
type Options struct {
	// ClientCert and ClientKey (PEM) are shown to the server.
	ClientCert, ClientKey string
	// ServerCert (PEM) is the certificate accepted from the server, whatever its names, issuer and dates. No other is, unless CA is set and
	// vouches for it.
	ServerCert string
	// CA (PEM) replaces the system's certificate authorities.
	CA string
	// SkipVerify accepts any certificate. It is for fetching one to show to the user, and for nothing else.
	SkipVerify bool
	// UserAgent goes along with every request.
	UserAgent string
	// Proxy finds a proxy; nil means the environment's.
	Proxy func(*http.Request) (*url.URL, error)
}

// ConnectUnix connects to the daemon's unix socket. It does not talk to the daemon yet.
func ConnectUnix(path string) (*Client, error) {
	if path == "" {
		return nil, errors.New("no path of a unix socket given")
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{ctx: context.Background(), conn: &connection{
		http:   &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 4}},
		ws:     &websocket.Dialer{NetDialContext: dial, HandshakeTimeout: dialTimeout},
		base:   "http://unix.socket",
		origin: "unix://" + path,
		unix:   true,
	}}, nil
}

// ConnectHTTPS connects to a daemon over TLS. It does not talk to the daemon yet.
func ConnectHTTPS(address string, opts Options) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	if u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("address %q is not an https:// URL", address)
	}
	conf, err := opts.TLS(u.Hostname())
	if err != nil {
		return nil, err
	}
	proxy := opts.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	d := &net.Dialer{Timeout: dialTimeout}
	return &Client{ctx: context.Background(), conn: &connection{
		http: &http.Client{
			Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: conf, Proxy: proxy, DisableCompression: true, TLSHandshakeTimeout: dialTimeout},
			// A redirect would carry the request to a server nobody pinned.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		ws:        &websocket.Dialer{NetDialContext: d.DialContext, TLSClientConfig: conf, Proxy: proxy, HandshakeTimeout: dialTimeout},
		base:      strings.TrimSuffix(u.Scheme+"://"+u.Host, "/"),
		origin:    u.Scheme + "://" + u.Host,
		userAgent: opts.UserAgent,
		cert:      opts.ServerCert,
	}}, nil
}

// TLS is how to talk to a server of that name, or address, as the options say.
func (opts Options) TLS(host string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if opts.ClientCert != "" {
		pair, err := tls.X509KeyPair([]byte(opts.ClientCert), []byte(opts.ClientKey))
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		// Shown always: a self-signed certificate matches no authority that the server could name.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if opts.CA != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(opts.CA)) {
			return nil, errors.New("no certificate in the given authority")
		}
	}
	switch {
	case opts.SkipVerify:
		conf.InsecureSkipVerify = true
	case opts.ServerCert != "":
		pinned, err := parseCert(opts.ServerCert)
		if err != nil {
			return nil, fmt.Errorf("server certificate: %w", err)
		}
		// The check against names and authorities is replaced by a stricter one: the very same certificate.
		conf.InsecureSkipVerify = true
		conf.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) > 0 && state.PeerCertificates[0].Equal(pinned) {
				return nil
			}
			if conf.RootCAs != nil && vouched(state, conf.RootCAs, host) {
				return nil
			}
			return errors.New("the server's certificate is not the one that was accepted for this remote")
		}
	}
	return conf, nil
}

// vouched tells whether authorities vouch for the certificate that the server has shown as that of a host. The state does not have the name
// of a host that is an IP address.
func vouched(state tls.ConnectionState, roots *x509.CertPool, host string) bool {
	if len(state.PeerCertificates) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: host})
	return err == nil
}

func parseCert(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not in PEM form")
	}
	return x509.ParseCertificate(block.Bytes)
}

// Fingerprint is the SHA-256 (hex) of a certificate given in PEM form.
func Fingerprint(certificate string) (string, error) {
	cert, err := parseCert(certificate)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:]), nil
}

// FetchCertificate connects to an https:// address, without trusting it, and returns the certificate (PEM) that it shows.
func FetchCertificate(ctx context.Context, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// lint:allow InsecureSkipVerify: the certificate is fetched to be shown to the user, nothing else is sent or believed
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return "", errors.New("the server shows no certificate")
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0].Raw})), nil
}
