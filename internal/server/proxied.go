package server

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// proxyTime is how long a proxy may take to say on whose behalf it connects.
const proxyTime = 10 * time.Second

// NewProxiedListener is l where connections may begin with a header of the PROXY protocol, version 1 or 2
// (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt), that tells whose they are. From addresses that are not of a trusted proxy no such
// header is read.
func NewProxiedListener(l net.Listener, trusted func(netip.Addr) bool) net.Listener {
	return &proxyproto.Listener{Listener: l, ReadHeaderTimeout: proxyTime, ValidateHeader: named, ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		if from, err := netip.ParseAddrPort(o.Upstream.String()); err == nil && trusted(from.Addr().Unmap().WithZone("")) {
			return proxyproto.USE, nil
		}
		return proxyproto.SKIP, nil
	}}
}

// named refuses a header that tells of a client's connection, but not whose it is: of no transport, or of addresses of no kind.
func named(h *proxyproto.Header) error {
	if h.Command.IsLocal() || h.SourceAddr != nil && h.DestinationAddr != nil {
		return nil
	}
	return fmt.Errorf("PROXY header without an address (family and transport 0x%02x)", byte(h.TransportProtocol))
}
