// Package fetch makes the daemon's requests of other servers on behalf of its callers. A caller who may name a URL must not reach through
// the daemon what only the daemon can (services on its loopback, a cloud's metadata, the rest of a private network).
//
// The policy is the caller's and travels in the context. It is asked for the address that a connection is really made to, after names have been
// resolved, so that neither a name that resolves to something else a moment later nor a redirect gets past it.
package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Policy says where a caller may have the daemon connect to. The zero value allows public addresses only.
type Policy struct {
	Private bool `json:"private"` // loopback, link-local and private addresses too
}

type policyKey struct{}

// WithPolicy returns ctx with the caller's policy in it.
func WithPolicy(ctx context.Context, p Policy) context.Context {
	return context.WithValue(ctx, policyKey{}, p)
}

// PolicyFrom is the policy of ctx; without one it is the strictest.
func PolicyFrom(ctx context.Context) Policy {
	p, _ := ctx.Value(policyKey{}).(Policy)
	return p
}

// ErrForbidden is wrapped by the error for an address that the caller's policy does not allow.
var ErrForbidden = errors.New("this address may not be fetched from")

// Options change a client. The zero value is right for a plain web server.
type Options struct {
	TLS       *tls.Config
	Proxy     func(*http.Request) (*url.URL, error)
	Redirects int           // how many to follow; at 0 the redirect itself is the answer
	Resolver  *net.Resolver // nil is the system's
	Idle      time.Duration // how long a connection may say nothing; 0 is two minutes
}

const (
	dialTime   = 10 * time.Second
	headerTime = time.Minute
	idleTime   = 2 * time.Minute
)

// Client makes a client that asks the policy of each request's context. It keeps no connections, as another caller's request must not use one that
// it could not have made.
func Client(o Options) *http.Client {
	t := &transport{options: o}
	if t.options.Idle == 0 {
		t.options.Idle = idleTime
	}
	t.base = &http.Transport{
		TLSClientConfig:       o.TLS,
		Proxy:                 o.Proxy,
		DialContext:           t.dial,
		TLSHandshakeTimeout:   dialTime,
		ResponseHeaderTimeout: headerTime,
		DisableKeepAlives:     true,
	}
	return &http.Client{Transport: t, CheckRedirect: func(to *http.Request, before []*http.Request) error {
		if o.Redirects == 0 {
			return http.ErrUseLastResponse
		}
		if len(before) > o.Redirects {
			return fmt.Errorf("more than %d redirects", o.Redirects)
		}
		if last := before[len(before)-1]; last.URL.Scheme == "https" && to.URL.Scheme != "https" {
			return errors.New("redirected from https to http")
		}
		return nil
	}}
}

type transport struct {
	options Options
	base    *http.Transport
}

type proxyKey struct{}

// RoundTrip implements http.RoundTripper. A redirect comes through here again.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.User != nil {
		return nil, fmt.Errorf("%w: not a plain http or https URL", ErrForbidden)
	}
	ctx := req.Context()
	if t.options.Proxy != nil && !PolicyFrom(ctx).Private {
		proxy, err := t.options.Proxy(req)
		if err != nil {
			return nil, err
		}
		if proxy != nil {
			// The proxy makes the connection: what it will resolve the name to is as good as can be told from here. It is the administrator's own and
			// may be private itself.
			if err := t.checkName(ctx, req.URL.Hostname()); err != nil {
				return nil, err
			}
			req = req.WithContext(context.WithValue(ctx, proxyKey{}, proxy))
		}
	}
	return t.base.RoundTrip(req)
}

// checkName asks the policy for every address that a name has.
func (t *transport) checkName(ctx context.Context, host string) error {
	addresses, err := t.resolver().LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := check(a); err != nil {
			return err
		}
	}
	return nil
}

func (t *transport) resolver() *net.Resolver {
	if t.options.Resolver != nil {
		return t.options.Resolver
	}
	return net.DefaultResolver
}

// dial connects to an address that the policy allows. The check stands in the hook that the dialer calls with each address it is about to connect
// to.
func (t *transport) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime, Resolver: t.options.Resolver}
	if !PolicyFrom(ctx).Private && !isProxy(ctx, address) {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%w: %s", ErrForbidden, address)
			}
			return check(to.Addr())
		}
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &idleConn{Conn: conn, idle: t.options.Idle}, nil
}

// isProxy tells whether an address is that of the proxy that this request goes through.
func isProxy(ctx context.Context, address string) bool {
	proxy, _ := ctx.Value(proxyKey{}).(*url.URL)
	if proxy == nil {
		return false
	}
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	}
	return address == net.JoinHostPort(proxy.Hostname(), port)
}

// idleConn ends when the other side says nothing, or takes nothing, for too long.
type idleConn struct {
	net.Conn
	idle time.Duration
}

// Read implements net.Conn.
func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *idleConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
