package files

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/spec"
)

// guest is an instance whose root is a folder, with IDs from base on, and that can go.
type guest struct {
	path string
	ids  []spec.IDMapEntry
	gone chan struct{}
	used *atomic.Int64 // roots that are not released
}

func (g guest) FilesRoot(context.Context, string, string) (Root, error) {
	return Root{Path: g.path, IDMap: g.ids}, nil
}

func (g guest) LastingRoot(context.Context, string, string) (Root, error) {
	g.used.Add(1)
	return Root{Path: g.path, IDMap: g.ids, Gone: g.gone, Release: func() { g.used.Add(-1) }}, nil
}

const base = 700000

// newGuest makes an instance with a few files, as a shifted one has them.
func newGuest(t testing.TB) guest {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to give files to the instance's users")
	}
	g := guest{
		path: t.TempDir(), ids: []spec.IDMapEntry{{UID: true, GID: true, HostID: base, Count: 65536}},
		gone: make(chan struct{}), used: new(atomic.Int64),
	}
	for _, dir := range []string{".", "etc", "tmp"} {
		at := filepath.Join(g.path, dir)
		if err := errors.Join(os.MkdirAll(at, 0o755), os.Chown(at, base, base)); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(g.path, "etc/passwd")
	if err := errors.Join(os.WriteFile(at, []byte("root"), 0o644), os.Chown(at, base, base)); err != nil {
		t.Fatal(err)
	}
	return g
}

// pair is a connection, both ends.
func pair(t testing.TB) (server, client net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "pair")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server, client = conn(fds[0]), conn(fds[1])
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

// serve begins a session; over is closed at its end.
func serve(t testing.TB, s *Service) (conn net.Conn, over <-chan struct{}) {
	t.Helper()
	session, err := s.SFTP(t.Context(), "default", "c1")
	if err != nil {
		t.Fatal(err)
	}
	server, conn := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		session.Serve(server)
	}()
	return conn, done
}

func sftpClient(t testing.TB, s *Service) (*sftp.Client, <-chan struct{}) {
	t.Helper()
	conn, over := serve(t, s)
	c, err := sftp.NewClientPipe(conn, conn)
	if err != nil {
		t.Fatal(err)
	}
	return c, over
}

func await(t testing.TB, what string, over <-chan struct{}) {
	t.Helper()
	select {
	case <-over:
	case <-time.After(time.Minute):
		t.Fatalf("%s: the session goes on", what)
	}
}

func owns(t testing.TB, path string, uid, gid int, mode fs.FileMode) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || int(st.Uid) != uid || int(st.Gid) != gid {
		t.Errorf("%s: owner %d:%d %v", path, st.Uid, st.Gid, err)
	}
	if info, err := os.Lstat(path); mode != 0 && (err != nil || info.Mode().Perm() != mode) {
		t.Errorf("%s: mode %v", path, info.Mode())
	}
}

func TestSFTPReadsAndWrites(t *testing.T) {
	g := newGuest(t)
	c, over := sftpClient(t, New(g, event.Nobody{}))
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	content := strings.Repeat("0123456789", 50_000) // many packets
	f, err := c.OpenFile("/tmp/f", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.ReadFrom(strings.NewReader(content))
	ok("write", err)
	_, err = f.Seek(0, io.SeekStart)
	ok("seek", err)
	if data, err := io.ReadAll(f); err != nil || string(data) != content {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	ok("close", f.Close())
	owns(t, filepath.Join(g.path, "tmp/f"), base, base, 0o644)
	ok("chown", c.Chown("/tmp/f", 5, 6))
	ok("chmod", c.Chmod("/tmp/f", 0o600))
	ok("chtimes", c.Chtimes("/tmp/f", time.Unix(1e9, 0), time.Unix(1e9, 0)))
	owns(t, filepath.Join(g.path, "tmp/f"), base+5, base+6, 0o600)
	info, err := c.Lstat("/tmp/f")
	if err != nil || info.Size() != int64(len(content)) || info.ModTime().Unix() != 1e9 || info.Sys().(*sftp.FileStat).UID != 5 {
		t.Errorf("%+v %v", info, err)
	}
	ok("truncate", c.Truncate("/tmp/f", 3))
	ok("mkdir", c.Mkdir("/tmp/d"))
	owns(t, filepath.Join(g.path, "tmp/d"), base, base, 0o755)
	ok("symlink", c.Symlink("/etc/passwd", "/tmp/l"))
	owns(t, filepath.Join(g.path, "tmp/l"), base, base, 0)
	if to, err := c.ReadLink("/tmp/l"); err != nil || to != "/etc/passwd" {
		t.Errorf("%q %v", to, err)
	}
	ok("hard link", c.Link("/tmp/f", "/tmp/d/h"))
	ok("posix rename", c.PosixRename("/tmp/d/h", "/tmp/l"))
	if err := c.Rename("/tmp/f", "/etc/passwd"); err == nil {
		t.Error("a rename took the place of another file")
	}
	ok("rename", c.Rename("/tmp/f", "/tmp/g"))
	found := map[string]int64{}
	list, err := c.ReadDir("/tmp")
	for _, i := range list {
		found[i.Name()] = i.Size()
	}
	if _, isThere := found["d"]; err != nil || len(list) != 3 || !isThere || found["g"] != 3 || found["l"] != 3 {
		t.Errorf("%v %v", found, err)
	}
	if vfs, err := c.StatVFS("/"); err != nil || vfs.Blocks == 0 {
		t.Errorf("%+v %v", vfs, err)
	}
	ok("remove", c.Remove("/tmp/g"))
	ok("rmdir", c.RemoveDirectory("/tmp/d"))
	ok("leave", c.Close())
	await(t, "a client that left", over)
	if n := g.used.Load(); n != 0 {
		t.Errorf("%d roots are held", n)
	}
}

// What is asked by a handle is about the file that was opened, whatever is at its path by now.
func TestSFTPHandles(t *testing.T) {
	g := newGuest(t)
	c, _ := sftpClient(t, New(g, event.Nobody{}))
	f, err := c.OpenFile("/tmp/f", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("mine")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Rename("/tmp/f", "/tmp/old"), os.WriteFile(filepath.Join(g.path, "tmp/f"), []byte("another"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(2), f.Chmod(0o640)); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 2 {
		t.Errorf("%v %v", info, err)
	}
	if data, err := os.ReadFile(filepath.Join(g.path, "tmp/f")); err != nil || string(data) != "another" {
		t.Errorf("the other file: %q %v", data, err)
	}
	owns(t, filepath.Join(g.path, "tmp/old"), base, base, 0o640)
	if err := c.Remove("/tmp/old"); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 2 {
		t.Errorf("removed: %v %v", info, err)
	}
}

// A session never leaves the root, and nothing in it stops for ever.
func TestSFTPStaysInside(t *testing.T) {
	g := newGuest(t)
	outside := filepath.Join(t.TempDir(), "secret")
	disk := filepath.Join(g.path, "disk")
	if err := errors.Join(os.WriteFile(outside, []byte("host"), 0o666), os.Symlink(outside, filepath.Join(g.path, "tmp/link")),
		os.Symlink(filepath.Dir(outside), filepath.Join(g.path, "tmp/dir")), unix.Mkfifo(filepath.Join(g.path, "tmp/fifo"), 0o666),
		os.Mkdir(disk, 0o755), os.WriteFile(filepath.Join(disk, "f"), []byte("host"), 0o644), os.Symlink("/disk/f", filepath.Join(g.path, "tmp/swapped"))); err != nil {
		t.Fatal(err)
	}
	c, _ := sftpClient(t, New(g, event.Nobody{}))
	open := func(path string, flags int) error {
		f, err := c.OpenFile(path, flags)
		if err == nil {
			_ = f.Close()
		}
		return err
	}
	for what, err := range map[string]error{
		"read": open("/tmp/link", os.O_RDONLY), "write": open("/tmp/link", os.O_WRONLY|os.O_TRUNC), "up": open("/../../../../.."+outside, os.O_RDONLY),
		"create": open("/tmp/dir/x", os.O_WRONLY|os.O_CREATE), "mkdir": c.Mkdir("/tmp/dir/x"), "list": func() error { _, err := c.ReadDir("/tmp/dir"); return err }(),
		"chmod": c.Chmod("/tmp/link", 0o777), "rename": c.Rename("/etc/passwd", "/tmp/dir/x"), "FIFO": open("/tmp/fifo", os.O_RDONLY),
		"FIFO written": open("/tmp/fifo", os.O_WRONLY|os.O_CREATE), "of the host's disk, given away": c.Chown("/tmp/swapped", 0, 0),
		"of the host's disk, written": open("/tmp/swapped", os.O_WRONLY|os.O_TRUNC), "of the host's disk, made": open("/disk/new", os.O_WRONLY|os.O_CREATE),
		"an owner outside the map": c.Chown("/etc/passwd", 70000, 0), "a name with a NUL": open("/\x001", os.O_RDONLY),
	} {
		if err == nil {
			t.Errorf("%s: it went through", what)
		}
	}
	for _, path := range []string{outside, filepath.Join(disk, "f")} {
		if data, err := os.ReadFile(path); err != nil || string(data) != "host" {
			t.Errorf("%s was changed: %q %v", path, data, err)
		}
		owns(t, path, 0, 0, 0)
	}
	if data, err := os.ReadFile(filepath.Join(g.path, "etc/passwd")); err != nil || string(data) != "root" {
		t.Errorf("%q %v", data, err)
	}
}

// A session ends when its instance goes and when the daemon ends, though its client stands still with answers not taken.
func TestSFTPSessionsEnd(t *testing.T) {
	for name, end := range map[string]func(*Service, guest){
		"the instance goes": func(_ *Service, g guest) { close(g.gone) },
		"the daemon ends":   func(s *Service, _ guest) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t)
			if err := os.WriteFile(filepath.Join(g.path, "tmp/big"), make([]byte, 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			s := New(g, event.Nobody{})
			c, idle := sftpClient(t, s)
			if _, err := c.OpenFile("/etc/passwd", os.O_RDONLY); err != nil {
				t.Fatal(err)
			}
			conn, stalled := serve(t, s)
			stall(t, conn)
			end(s, g)
			await(t, "idle", idle)
			await(t, "stalled", stalled)
			if n := g.used.Load(); n != 0 {
				t.Errorf("%d roots are held", n)
			}
		})
	}
}

// stall opens a large file and asks for it again and again without reading an answer, until no more questions are taken.
func stall(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	first := append(packet(1, 3), packet(3, 1, "/tmp/big", 1, 0)...)
	if _, err := conn.Write(first); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the version, and the file's handle, without which no client asks for more
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
			t.Fatal(err)
		}
	}
	read := packet(5, 2, "1", 0, 0, 32768)
	for {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second / 2))
		if _, err := conn.Write(read); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSFTPIsBounded(t *testing.T) {
	g := newGuest(t)
	s := New(g, event.Nobody{})
	c, over := sftpClient(t, s)
	var last *sftp.File
	for i := range maxOpen {
		f, err := c.OpenFile("/etc/passwd", os.O_RDONLY)
		if err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
		last = f
	}
	if _, err := c.OpenFile("/etc/passwd", os.O_RDONLY); err == nil {
		t.Error("files without end")
	}
	if _, err := c.ReadDir("/"); err == nil {
		t.Error("directories without end")
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a directory is closed when it has been read
		if _, err := c.ReadDir("/"); err != nil {
			t.Fatal(err)
		}
	}
	var more []*Session
	for range maxOfOne - 1 {
		one, err := s.SFTP(t.Context(), "default", "c1")
		if err != nil {
			t.Fatal(err)
		}
		more = append(more, one)
	}
	if _, err := s.SFTP(t.Context(), "default", "c1"); api.StatusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("sessions without end: %v", err)
	}
	for _, one := range more {
		one.Close()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "closed", over)
	if n := g.used.Load(); n != 0 {
		t.Errorf("%d roots are held", n)
	}
	s.Close()
	if _, err := s.SFTP(t.Context(), "default", "c1"); api.StatusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("after the end: %v", err)
	}
}
