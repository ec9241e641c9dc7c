package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berthd/berth/api"
)

// defaultPort is where the API listens on the network if no port is given, and defaultMetricsPort where metrics are.
const defaultPort, defaultMetricsPort = "8443", "9100"

// addressListener listens on the address that a key of the server's configuration names.
type addressListener struct {
	key, port string // the key, and the port where it names none
	what      string // is listened on, for messages
	serve     func(net.Listener) error

	mu      sync.Mutex
	closed  bool
	address string // as listened on
	current net.Listener
	running sync.WaitGroup
}

// prepare binds a new address and leaves the old one alone until commit. It is a serverconfig.Prepare.
func (n *addressListener) prepare(ctx context.Context, value string) (commit, abort func(), err error) {
	if value == "" {
		return func() { n.replace(nil, "") }, func() {}, nil
	}
	address := canonicalAddress(value, n.port)
	if _, err := net.ResolveTCPAddr("tcp", address); err != nil {
		return nil, nil, api.BadRequest("cannot set '%s' to '%s': Couldn't resolve %q", n.key, value, value)
	}
	n.mu.Lock()
	old, oldAddress := n.current, n.address
	n.mu.Unlock()
	if old != nil && oldAddress == address {
		return func() {}, func() {}, nil
	}
	l, err := n.listen(ctx, address)
	if err == nil {
		return func() { n.replace(l, address) }, func() { _ = l.Close() }, nil
	}
	if old == nil || !errors.Is(err, syscall.EADDRINUSE) || portOf(address) != portOf(oldAddress) {
		return nil, nil, err
	}
	// The old address and the new one overlap: only one of both can be listened on.
	_ = old.Close()
	back := func() {
		if again, err := n.listen(ctx, oldAddress); err != nil {
			slog.Error("The address of before cannot be listened on again", "address", oldAddress, "err", err)
			n.replace(nil, "")
		} else {
			n.replace(again, oldAddress)
		}
	}
	if l, err = n.listen(ctx, address); err != nil {
		back()
		return nil, nil, err
	}
	return func() { n.replace(l, address) }, func() { _ = l.Close(); back() }, nil
}

func (n *addressListener) listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("Cannot listen on %s %q: %w", n.what, address, err)
	}
	return l, nil
}

// replace serves l, if any, and closes what was served before. Connections that exist go on.
func (n *addressListener) replace(l net.Listener, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.current != nil {
		_ = n.current.Close()
	}
	n.current, n.address = nil, ""
	if l != nil {
		n.serveLocked(l, address)
	}
}

// serveLocked serves l; n.mu is held.
func (n *addressListener) serveLocked(l net.Listener, address string) {
	n.current, n.address = l, address
	slog.Info("Listening on the network", "key", n.key, "address", address)
	n.running.Go(func() {
		if err := n.serve(l); err != nil {
			slog.Error("Network listener failed", "key", n.key, "address", address, "err", err)
		}
	})
}

// start listens on the address that is configured, if there is one.
func (n *addressListener) start(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	commit, _, err := n.prepare(ctx, address)
	if err == nil {
		commit()
	}
	return err
}

func (n *addressListener) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.replace(nil, "")
	n.running.Wait()
}

// listens tells whether it does.
func (n *addressListener) listens() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current != nil
}

// keepTrying listens on the address that is wanted as soon as that is possible, unless a change of it has come first. It tells whether it does.
func (n *addressListener) keepTrying(ctx context.Context, wanted func() string, wait time.Duration) bool {
	for ; ; wait = min(2*wait, maxListenAgain) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
		value := wanted()
		if value == "" || n.listens() {
			return false
		}
		address := canonicalAddress(value, n.port)
		l, err := n.listen(ctx, address)
		if err != nil {
			continue
		}
		if !n.adopt(l, address) {
			_ = l.Close()
			return false
		}
		if wanted() != value { // changed in between: the change has found nothing to replace
			n.drop(l)
			continue
		}
		return true
	}
}

// adopt serves l unless something else is served by now, or nothing is to be.
func (n *addressListener) adopt(l net.Listener, address string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.current != nil || n.closed {
		return false
	}
	n.serveLocked(l, address)
	return true
}

// drop ends l, unless it has been replaced.
func (n *addressListener) drop(l net.Listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.current == l {
		_ = l.Close()
		n.current, n.address = nil, ""
	}
}

// addresses are those that clients can reach the API at.
func (n *addressListener) addresses() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.current == nil {
		return []string{}
	}
	host, port, err := net.SplitHostPort(n.address)
	if err != nil {
		return []string{}
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		return []string{n.address}
	}
	list := []string{}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return list
	}
	for _, a := range all {
		ip, ok := a.(*net.IPNet)
		if !ok || !ip.IP.IsGlobalUnicast() || host == "0.0.0.0" && ip.IP.To4() == nil {
			continue
		}
		list = append(list, net.JoinHostPort(ip.IP.String(), port))
	}
	return list
}

// canonicalAddress adds what an address leaves out: ":8443", "10.0.0.1", "[::]" and "host:443" are all allowed.
func canonicalAddress(value, defaultPort string) string {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		host, port = strings.Trim(value, "[]"), defaultPort
	}
	if port == "" {
		port = defaultPort
	}
	if host == "*" {
		host = ""
	}
	return net.JoinHostPort(host, port)
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
