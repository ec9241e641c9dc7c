package server

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"sync"

	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/unixsocket"
)

type peerKey struct{}

// withPeer notes who is at the other end of a connection to the socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if conn, ok := c.(*fileConn); ok {
		return context.WithValue(ctx, peerKey{}, peerUser(conn.UnixConn))
	}
	return ctx
}

// SocketAuth trusts whoever could open the unix socket: its mode is the guard. Others are left to TLS.
type SocketAuth struct {
	// TLS answers for connections over the network; nil trusts none of them.
	TLS Authenticator
}

// Authenticate implements Authenticator.
func (a SocketAuth) Authenticate(r *http.Request) request.Caller {
	if name, ok := r.Context().Value(peerKey{}).(string); ok {
		return request.Caller{Protocol: "unix", Username: name, Address: "@", Trusted: true, Rights: access.Full()}
	}
	if a.TLS == nil {
		return request.Caller{Protocol: "tls", Address: r.RemoteAddr}
	}
	return a.TLS.Authenticate(r)
}

var userNames sync.Map // uid -> name: looking one up reads files

func peerUser(conn *net.UnixConn) string {
	cred, err := unixsocket.Peer(conn)
	if err != nil {
		return ""
	}
	if name, ok := userNames.Load(cred.Uid); ok {
		return name.(string)
	}
	id := strconv.FormatUint(uint64(cred.Uid), 10)
	name := id
	if u, err := user.LookupId(id); err == nil {
		name = u.Username
	}
	userNames.Store(cred.Uid, name)
	return name
}
