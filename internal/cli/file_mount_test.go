package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// withFiles is a server with an instance c1 whose files are in memory.
func withFiles(t *testing.T) *client.Client {
	t.Helper()
	f := newFake(t)
	f.gives("GET /1.0/instances/c1", api.Instance{Name: "c1"})
	files := sftp.InMemHandler()
	f.answers["GET /1.0/instances/c1/sftp"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if r.Header.Get("Upgrade") != "sftp" {
			fail(w, http.StatusBadRequest, "no upgrade")
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: sftp\r\nConnection: Upgrade\r\n\r\n")
		_ = sftp.NewRequestServer(conn, files).Serve()
	}
	c, err := client.ConnectUnix(os.Getenv("BERTH_SOCKET"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// listening runs an SSH server for c1 and returns its address and what it said of how to log in.
func listening(t *testing.T, server *client.Client, user string, open bool) (address, login string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	from, to := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- (&App{Out: to, Err: io.Discard}).listenSFTP(ctx, server, "c1", "", user, open) }()
	var text strings.Builder
	one := make([]byte, 1)
	for strings.Count(text.String(), "\n") < 2 {
		if _, err := from.Read(one); err != nil {
			t.Fatal(err)
		}
		text.Write(one)
	}
	go func() { _, _ = io.Copy(io.Discard, from) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = to.Close()
	})
	said := strings.SplitN(text.String(), "\n", 2)
	return strings.TrimPrefix(said[0], "SSH SFTP listening on "), said[1]
}

func login(address, user, password string) (*ssh.Client, error) {
	return ssh.Dial("tcp", address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
}

func TestFilesAreServedOverSSH(t *testing.T) {
	server := withFiles(t)
	address, said := listening(t, server, "joe", false)
	words := regexp.MustCompile(`"joe" and password "([^"]{16,})"`).FindStringSubmatch(said)
	if words == nil || !strings.HasPrefix(address, "127.0.0.1:") {
		t.Fatalf("%s %s", address, said)
	}
	for user, password := range map[string]string{"joe": "", "jim": words[1], "joe ": words[1]} {
		if c, err := login(address, user, password); err == nil {
			_ = c.Close()
			t.Errorf("%q is let in with %q", user, password)
		}
	}
	conn, err := login(address, "joe", words[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Create("/f")
	if err == nil {
		_, err = f.Write([]byte("content"))
		err = errors.Join(err, f.Close())
	}
	if info, statErr := c.Stat("/f"); err != nil || statErr != nil || info.Size() != 7 {
		t.Errorf("%v %v", err, statErr)
	}
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("id"); err == nil {
		t.Error("a command was run")
	}
	if l, err := conn.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
		t.Error("a port was forwarded")
	}
	if c, err := conn.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Error("a connection was forwarded")
	}
}

func TestFilesAreServedToEverybodyWhereWanted(t *testing.T) {
	address, said := listening(t, withFiles(t), "", true)
	if said != "Login without username and password\n" {
		t.Error(said)
	}
	conn, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: "anybody", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := sftp.NewClient(conn); err != nil {
		t.Error(err)
	}
}

func TestFileMountRefuses(t *testing.T) {
	withFiles(t)
	dir := t.TempDir()
	t.Setenv("PATH", dir) // no sshfs
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"c1/root " + dir:                        "apt install sshfs",
		"c1/root " + dir + "/none":              "no such file or directory",
		"c1/root " + dir + "/file":              "must be a directory",
		"c1 " + dir + " --no-auth":              "without a target path",
		"c1/etc --listen 127.0.0.1:0":           "Instance path cannot be used",
		"c1 --no-auth --auth-user joe":          "exclude each other",
		"nosuch --listen 127.0.0.1:0 --no-auth": "not found",
		"c1 --listen nonsense --no-auth":        "missing port",
	} {
		var said strings.Builder
		app := &App{In: strings.NewReader(""), Out: &said, Err: &said}
		if code := app.Run(append([]string{"file", "mount"}, strings.Fields(line)...)); code != 1 || !strings.Contains(said.String(), want) {
			t.Errorf("%s: %d %s", line, code, said.String())
		}
	}
}

// sshfs is given the connection on its standard streams, and the folder.
func TestFileMountRunsSSHFS(t *testing.T) {
	withFiles(t)
	dir := t.TempDir()
	script := "#!/bin/sh\nprintf '\\000\\000\\000\\005\\001\\000\\000\\000\\003'\n/usr/bin/head -c 9 > " + dir + "/answer\necho \"$@\" > " + dir + "/arguments\n"
	if err := os.WriteFile(filepath.Join(dir, "sshfs"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	var said strings.Builder
	if code := (&App{In: strings.NewReader(""), Out: &said, Err: &said}).Run([]string{"file", "mount", "c1/etc/x/..", dir}); code != 0 {
		t.Fatal(said.String())
	}
	arguments, _ := os.ReadFile(filepath.Join(dir, "arguments"))
	answer, _ := os.ReadFile(filepath.Join(dir, "answer"))
	if string(arguments) != "-o slave c1:/etc "+dir+"\n" || len(answer) != 9 || answer[4] != 2 {
		t.Errorf("%q %q", arguments, answer)
	}
}

// TestAnEndOnOneSideEndsTheOther, whichever it is: what is said before arrives, and nobody is left reading.
func TestAnEndOnOneSideEndsTheOther(t *testing.T) {
	for _, first := range []int{0, 1} {
		here, a := net.Pipe()
		there, b := net.Pipe()
		joined := make(chan struct{})
		go func() { defer close(joined); join(a, b) }()
		ends := []net.Conn{here, there}
		for _, end := range ends {
			_ = end.SetDeadline(time.Now().Add(20 * time.Second))
		}
		for n, end := range ends {
			go func() { _, _ = io.WriteString(end, "ping") }()
			heard := make([]byte, 4)
			if _, err := io.ReadFull(ends[1-n], heard); err != nil || string(heard) != "ping" {
				t.Fatalf("from side %d came %q, %v", n, heard, err)
			}
		}
		_ = ends[first].Close()
		if data, err := io.ReadAll(ends[1-first]); err != nil || len(data) > 0 {
			t.Errorf("side %d gets %q, %v", 1-first, data, err)
		}
		select {
		case <-joined:
		case <-time.After(time.Minute):
			t.Fatalf("it goes on after side %d has ended", first)
		}
		for n, end := range []net.Conn{a, b} {
			if _, err := end.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("side %d is not closed: %v", n, err)
			}
		}
	}
}
