package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/server"
	"github.com/berthd/berth/internal/serverconfig"
)

// wireListeners makes what listens on addresses of the network.
func (d *Daemon) wireListeners() {
	d.https = &addressListener{key: "core.https_address", port: defaultPort, what: "network HTTPS socket", serve: func(l net.Listener) error {
		return d.server.Serve(server.NewTLSListener(server.NewProxiedListener(l, d.isProxy), d.cert.TLS))
	}}
	d.metrics = &addressListener{key: "core.metrics_address", port: defaultMetricsPort, what: "network HTTPS socket", serve: func(l net.Listener) error {
		return d.server.ServeMetrics(server.NewTLSListener(l, d.cert.TLS))
	}}
	d.debug = &addressListener{key: "core.debug_address", port: defaultPort, what: "http socket", serve: serveProfiles}
	for _, l := range d.addressListeners() {
		d.config.OnChange(l.key, l.prepare)
	}
}

func (d *Daemon) addressListeners() []*addressListener {
	return []*addressListener{d.https, d.metrics, d.debug}
}

func (d *Daemon) startListeners(ctx context.Context) {
	for _, l := range d.addressListeners() {
		address := d.config.Get(l.key)
		if err := l.start(ctx, address); err != nil {
			slog.Error("The network address cannot be listened on; it is tried again", "key", l.key, "address", address, "err", err)
			d.hostWarnings = append(d.hostWarnings, hostinfo.Warning{Type: unableToListen, Message: err.Error()})
			d.running.Go(func() { d.listenLater(ctx, l) })
		}
	}
}

const unableToListen = "Unable to listen on the network"

// listenLater tries again until the address is there, as one that the host gets by DHCP, or that is of a network of ours, is only some time after
// the start; or until the key says something else, which is listened on when it is set.
func (d *Daemon) listenLater(ctx context.Context, l *addressListener) {
	address := func() string { return d.config.Get(l.key) }
	if !l.keepTrying(ctx, address, listenAgain) {
		return
	}
	select { // what the start has to warn of is said by then
	case <-d.recovered:
	case <-ctx.Done():
		return
	}
	for _, other := range d.addressListeners() {
		if d.config.Get(other.key) != "" && !other.listens() {
			return
		}
	}
	if err := d.warnings.Resolve(ctx, unableToListen, "", ""); err != nil {
		slog.Error("A warning cannot be resolved", "type", unableToListen, "err", err)
	}
}

// listenAgain is the wait before an address is tried again; it doubles up to maxListenAgain.
const listenAgain, maxListenAgain = time.Second, 15 * time.Second

// isProxy tells whether an address is one of core.https_trusted_proxy.
func (d *Daemon) isProxy(address netip.Addr) bool {
	for _, proxy := range serverconfig.TrustedProxies(d.config.Get("core.https_trusted_proxy")) {
		if proxy == address {
			return true
		}
	}
	return false
}

// serveProfiles answers with what the Go tool pprof asks for, and with nothing else.
func serveProfiles(l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
	err := s.Serve(l)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.Close()) // the key was unset: nothing goes on
}
