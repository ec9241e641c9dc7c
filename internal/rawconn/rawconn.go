// Package rawconn reaches the connection that others, such as TLS, are laid over.
package rawconn

import "net"

// Beneath is the connection under all that names what it is laid over, as tls.Conn does; conn itself where nothing is.
func Beneath(conn net.Conn) net.Conn {
	for {
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = over.NetConn()
	}
}

// Close closes a connection without TLS's closing message, which would wait for a peer that does not read. It ends pending writes.
func Close(conn net.Conn) error { return Beneath(conn).Close() }
