package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/servercert"
)

// callers tells who calls, and trusts nobody.
type callers chan string

func (c callers) Authenticate(r *http.Request) request.Caller {
	c <- r.RemoteAddr
	return request.Caller{Protocol: "tls", Address: r.RemoteAddr}
}

// TestAProxyTellsWhoseConnectionItIs, if it is one that is trusted.
func TestAProxyTellsWhoseConnectionItIs(t *testing.T) {
	cert, err := servercert.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(callers, 1)
	s := New(Services{}, seen)
	for _, tt := range []struct {
		name, header string
		trusted      bool
		want         string // the beginning of the caller's address; "" is for a connection that comes to nothing
	}{
		{"version 1 of a trusted proxy", "PROXY TCP4 9.8.7.6 127.0.0.1 555 777\r\n", true, "9.8.7.6:555"},
		{"version 1, IPv6", "PROXY TCP6 fd00::9 ::1 555 777\r\n", true, "[fd00::9]:555"},
		{"version 2 of a trusted proxy", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x09\x08\x07\x06\x7f\x00\x00\x01\x02\x2b\x03\x09", true, "9.8.7.6:555"},
		{"version 2 with much more than addresses", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x08\x0f\x09\x08\x07\x06\x7f\x00\x00\x01\x02\x2b\x03\x09\xe0\x08\x00" + strings.Repeat("x", 2048), true, "9.8.7.6:555"},
		{"version 2 of no transport", "\r\n\r\n\x00\r\nQUIT\n\x21\x10\x00\x0c\x09\x08\x07\x06\x7f\x00\x00\x01\x02\x2b\x03\x09", true, ""},
		{"version 2 of the proxy itself", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", true, "127.0.0.1:"},
		{"none of a trusted proxy", "", true, "127.0.0.1:"},
		{"one that is cut off", "PROXY TCP4 9.8.7.6\r\n", true, ""},
		{"version 1 of anybody else", "PROXY TCP4 9.8.7.6 127.0.0.1 555 777\r\n", false, ""},
		{"none of anybody else", "", false, "127.0.0.1:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plain, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := NewTLSListener(NewProxiedListener(plain, func(a netip.Addr) bool { return tt.trusted && a.String() == "127.0.0.1" }), cert.TLS)
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			defer func() {
				if err := plain.Close(); err != nil {
					t.Error(err)
				}
				if err := <-served; err != nil {
					t.Error(err)
				}
			}()
			status, err := askBehind(plain.Addr().String(), tt.header)
			if tt.want == "" {
				if err == nil {
					t.Errorf("it is answered with %q", status)
				}
				return
			}
			if err != nil || !strings.Contains(status, "200") {
				t.Fatalf("%q %v", status, err)
			}
			if got := <-seen; !strings.HasPrefix(got, tt.want) {
				t.Errorf("the caller is %s, want %s", got, tt.want)
			}
		})
	}
}

// askBehind asks for "/" over TLS, behind a header in plain text.
func askBehind(address, header string) (status string, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, header); err != nil {
		return "", err
	}
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) // lint:allow InsecureSkipVerify: a test's own server
	if _, err := fmt.Fprint(secure, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(secure, 4096))
	if len(answer) == 0 && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return string(answer), err
}
