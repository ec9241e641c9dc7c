package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/berthd/berth/client"
)

const (
	// handshakeTime is how long an SSH client may take to log in.
	handshakeTime = time.Minute
	// maxGuests bounds the clients that are connected at once, logged in or not.
	maxGuests = 32
)

// sftpListener is an SSH server that knows one user and SFTP.
type sftpListener struct {
	c        *App
	server   *client.Client
	instance string
	config   *ssh.ServerConfig
	guests   chan struct{}
	saying   sync.Mutex
}

// listenSFTP serves an instance's files until ctx ends.
func (c *App) listenSFTP(ctx context.Context, server *client.Client, instance, address, user string, open bool) error {
	if _, _, err := server.Instance(instance); err != nil {
		return err
	}
	if address == "" {
		address = "127.0.0.1:0"
	}
	password := rand.Text()
	if user == "" {
		user = rand.Text()[:8]
	}
	config, err := sshConfig(user, password, open)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	c.say(T("SSH SFTP listening on %v"), l.Addr())
	if open {
		c.say(T("Login without username and password"))
	} else {
		c.say(T("Login with username %q and password %q"), user, password)
	}
	s := &sftpListener{c: c, server: server, instance: instance, config: config, guests: make(chan struct{}, maxGuests)}
	return s.serve(ctx, l)
}

// sshConfig makes a host key that lasts as long as the listener does.
func sshConfig(user, password string, open bool) (*ssh.ServerConfig, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{NoClientAuth: open, ServerVersion: "SSH-2.0-Berth"}
	if !open {
		config.PasswordCallback = func(meta ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
			right := subtle.ConstantTimeCompare([]byte(meta.User()), []byte(user)) & subtle.ConstantTimeCompare(given, []byte(password))
			if right != 1 {
				return nil, errors.New("wrong user or password")
			}
			return nil, nil
		}
	}
	config.AddHostKey(signer)
	return config, nil
}

func (s *sftpListener) serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var guests sync.WaitGroup
	defer guests.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case s.guests <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		guests.Go(func() {
			defer func() { <-s.guests }()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			s.guest(conn)
		})
	}
}

// guest serves one client.
func (s *sftpListener) guest(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(handshakeTime))
	session, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		s.say(T("SSH client %q could not log in: %v"), conn.RemoteAddr().String(), err)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	s.say(T("SSH client connected %q"), conn.RemoteAddr().String())
	defer s.say(T("SSH client disconnected %q"), conn.RemoteAddr().String())
	var streams sync.WaitGroup
	defer streams.Wait()
	defer session.Close()
	streams.Go(func() { ssh.DiscardRequests(requests) })
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.UnknownChannelType, "only sessions are served")
			continue
		}
		stream, asked, err := channel.Accept()
		if err != nil {
			return
		}
		streams.Go(func() { s.stream(stream, asked) })
	}
}

// sftpRequest is the payload of a request for SFTP (RFC 4254, 6.5: a string).
var sftpRequest = ssh.Marshal(struct{ Name string }{"sftp"})

// stream connects a session that asks for SFTP with the instance. It serves nothing else: no shell, no command, no forwarding.
func (s *sftpListener) stream(stream ssh.Channel, asked <-chan *ssh.Request) {
	var joined sync.WaitGroup
	defer joined.Wait()
	defer stream.Close()
	begun := false
	for request := range asked {
		wanted := request.Type == "subsystem" && bytes.Equal(request.Payload, sftpRequest) && !begun
		if !wanted {
			_ = request.Reply(false, nil)
			continue
		}
		conn, err := s.server.InstanceSFTP(s.instance)
		if err != nil {
			s.say(T("Error: %v"), err)
			_ = request.Reply(false, nil)
			return
		}
		begun = true
		_ = request.Reply(true, nil)
		joined.Go(func() { join(conn, stream) })
	}
}

func (s *sftpListener) say(format string, args ...any) {
	s.saying.Lock()
	defer s.saying.Unlock()
	s.c.say(format, args...)
}
