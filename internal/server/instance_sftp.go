package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/berthd/berth/api"
)

// sftpProtocol is what a connection is upgraded to: SFTP itself, without SSH around it.
const sftpProtocol = "sftp"

// upgradeTime is how long a client may take to take the answer to its request for an upgrade.
const upgradeTime = 10 * time.Second

// sftp turns the connection into an SFTP session on the instance's files.
func (a filesAPI) sftp(r *Request) Response {
	if !strings.EqualFold(r.Header.Get("Upgrade"), sftpProtocol) {
		return Fail(api.BadRequest("Missing or invalid upgrade header"))
	}
	if r.ProtoMajor != 1 {
		return Fail(api.BadRequest("Only connections of HTTP/1.1 can be upgraded"))
	}
	session, err := a.svc.SFTP(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, _ *http.Request) error {
		conn, err := upgrade(w, sftpProtocol)
		if err != nil {
			session.Close()
			return err
		}
		session.Serve(conn)
		return nil
	})
}

// upgrade takes the connection of a request over and answers that it speaks another protocol from here on.
func upgrade(w http.ResponseWriter, protocol string) (net.Conn, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + protocol + "\r\nConnection: Upgrade\r\n\r\n"
	err = conn.SetDeadline(time.Now().Add(upgradeTime)) // which also takes the deadlines of HTTP away
	if err == nil {
		_, err = io.WriteString(conn, answer)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return upgraded{conn, buffered.Reader}, nil
}

// upgraded is a connection of which some may have been read already.
type upgraded struct {
	net.Conn
	from *bufio.Reader
}

// Read implements io.Reader.
func (u upgraded) Read(p []byte) (int, error) { return u.from.Read(p) }

// NetConn is the connection beneath, as tls.Conn has it.
func (u upgraded) NetConn() net.Conn { return u.Conn }
