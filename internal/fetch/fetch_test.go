package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	restricted   = context.Background()
	unrestricted = WithPolicy(context.Background(), Policy{Private: true})
)

func get(ctx context.Context, c *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// server counts what reaches it.
func server(t *testing.T, h http.HandlerFunc) (address string, reached *atomic.Int32) {
	t.Helper()
	reached = &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		if h != nil {
			h(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, reached
}

func TestOnlyTheUnrestrictedReachLoopback(t *testing.T) {
	address, reached := server(t, nil)
	port := address[strings.LastIndexByte(address, ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1.2.3"} {
		if err := get(restricted, Client(Options{}), "http://"+host+port); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("the server was reached")
	}
	if err := get(unrestricted, Client(Options{}), address); err != nil || reached.Load() != 1 {
		t.Error(err, reached.Load())
	}
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "8.8.8.8": true, "2606:4700::1111": true, "172.32.0.1": true, "100.128.0.1": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false, "192.0.0.170": false, "198.18.0.1": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "fec0::1": false,
		"::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "::10.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false,
		"2001::1": false, "2001:db8::1": false,
	} {
		if err := check(netip.MustParseAddr(text)); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTheHostsOwnAddressesAreNotPublic(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err != nil || check(p.Addr()) == nil {
			t.Errorf("%s is allowed", a)
		}
	}
}

func TestRedirects(t *testing.T) {
	inside, reached := server(t, nil)
	var loop string
	loop, _ = server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/in":
			http.Redirect(w, r, inside, http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		default:
			http.Redirect(w, r, loop+"/", http.StatusFound)
		}
	})
	c := Client(Options{Redirects: 3})
	if err := get(unrestricted, c, loop); err == nil || !strings.Contains(err.Error(), "3 redirects") {
		t.Errorf("a loop: %v", err)
	}
	if err := get(unrestricted, c, loop+"/file"); !errors.Is(err, ErrForbidden) {
		t.Errorf("to a file: %v", err)
	}
	if err := get(unrestricted, c, loop+"/in"); err != nil || reached.Load() != 1 {
		t.Errorf("to another server: %v", err)
	}
	if err := get(unrestricted, Client(Options{}), loop+"/in"); err != nil || reached.Load() != 1 {
		t.Errorf("followed unasked: %v", err)
	}
	// The first server may be reached, the one that it sends to may not.
	asked := atomic.Int32{}
	once := Client(Options{Redirects: 3})
	via := once.Transport
	once.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
		if asked.Add(1) == 1 {
			req = req.WithContext(unrestricted)
		}
		return via.RoundTrip(req)
	})
	if err := get(restricted, once, loop+"/in"); !errors.Is(err, ErrForbidden) || reached.Load() != 1 {
		t.Errorf("a redirect to loopback: %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// rebinding answers the first question for a name with a public address, and each later one with loopback.
func rebinding(t *testing.T) (*net.Resolver, *atomic.Int32) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	asked := &atomic.Int32{}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := reply(buf[:n], asked); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}, asked
}

func reply(query []byte, asked *atomic.Int32) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		address := [4]byte{127, 0, 0, 1}
		if asked.Add(1) == 1 {
			address = [4]byte{93, 184, 216, 34}
		}
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: address}}}
	}
	return m.Pack()
}

func TestANameThatIsReboundReachesNothing(t *testing.T) {
	address, reached := server(t, nil)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
	resolver, asked := rebinding(t)
	c := Client(Options{Resolver: resolver})
	if _, err := resolver.LookupHost(restricted, "rebound.example."); err != nil { // a check of the name alone is content
		t.Fatal(err)
	}
	if err := get(restricted, c, "http://rebound.example.:"+port); !errors.Is(err, ErrForbidden) {
		t.Error(err)
	}
	if asked.Load() < 2 || reached.Load() != 0 {
		t.Errorf("asked %d times, reached %d", asked.Load(), reached.Load())
	}
}

func TestThroughAProxyTheTargetIsChecked(t *testing.T) {
	proxy, reached := server(t, nil)
	to, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	c := Client(Options{Proxy: http.ProxyURL(to)})
	if err := get(restricted, c, "http://169.254.169.254/latest"); !errors.Is(err, ErrForbidden) || reached.Load() != 0 {
		t.Error(err)
	}
	if err := get(restricted, c, "http://93.184.216.34/"); err != nil || reached.Load() != 1 {
		t.Errorf("the proxy itself: %v", err)
	}
}

func TestASilentServerIsGivenUp(t *testing.T) {
	held := make(chan struct{})
	address, _ := server(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})
	defer close(held)
	err := get(unrestricted, Client(Options{Idle: 50 * time.Millisecond}), address)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
}
