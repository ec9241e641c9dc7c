package files

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/berthd/berth/internal/event"
)

// packet is a packet of SFTP: a length of four bytes, a type and what follows.
func packet(kind byte, body ...any) []byte {
	p := []byte{kind}
	u32 := func(n int) { p = append(p, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)) }
	for _, b := range body {
		switch b := b.(type) {
		case int:
			u32(b)
		case string:
			u32(len(b))
			p = append(p, b...)
		}
	}
	whole := []byte{byte(len(p) >> 24), byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p))}
	return append(whole, p...)
}

// FuzzSFTP sends what no client would.
func FuzzSFTP(f *testing.F) {
	g := newGuest(f)
	s := New(g, event.Nobody{})
	f.Add(append(packet(1, 3), packet(3, 1, "/etc/passwd", 1, 0)...))
	f.Add(append(packet(11, 1, "/"), packet(12, 2, "1")...))
	f.Add(append(packet(9, 1, "/etc/passwd", 15, 0, 3, 1, 2, 0o644, 4, 5), packet(10, 1, "1", 2, 3)...))
	f.Add(packet(200, 1, "posix-rename@openssh.com", "/etc/passwd", "/tmp/x"))
	f.Add([]byte{0, 0, 0, 1, 3})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, over := serve(t, s)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = conn.Write(data)
		_ = conn.(*net.UnixConn).CloseWrite()
		await(t, fmt.Sprintf("%q", data), over)
	})
}
