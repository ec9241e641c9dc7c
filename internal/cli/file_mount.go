package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

func (c *App) fileMountCommand() *cobra.Command {
	var listen, user string
	var open bool
	cmd := &cobra.Command{
		Use:   usage("mount", "[<remote>:]<instance>[/<path>] [<target path>]"),
		Short: T("Mount a folder of an instance on this machine"),
		Long: T(`With a target path a folder of the instance is mounted there by sshfs, until this command is interrupted.

Without one this command is an SSH server for SFTP on a local address, until it is interrupted. It prints the user
and the password to log in with.`),
		Example: examples(
			"berth file mount web/var/www www", T("Show /var/www of the instance web in the local folder www."),
			"berth file mount web --listen 127.0.0.1:2222", T("Serve the files of web to SFTP clients."),
		),
		RunE: takes(1, 2, func(args []string) error {
			server, instance, folder, err := c.mountSource(args[0])
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if len(args) > 1 {
				if listen != "" || user != "" || open {
					return errors.New(T("--listen, --auth-user and --no-auth are for use without a target path"))
				}
				return c.mountFiles(ctx, server, instance, folder, args[1])
			}
			if folder != "" {
				return errors.New(T("Instance path cannot be used in SSH SFTP listener mode"))
			}
			if open && user != "" {
				return errors.New(T("--no-auth and --auth-user exclude each other"))
			}
			return c.listenSFTP(ctx, server, instance, listen, user, open)
		}),
	}
	cmd.Flags().StringVar(&listen, "listen", "", T("Address and port of an SSH server for SFTP; by default any port of 127.0.0.1"))
	cmd.Flags().StringVar(&user, "auth-user", "", T("Name of the user who may log in; by default one is made up"))
	cmd.Flags().BoolVar(&open, "no-auth", false, T("Let everybody in who reaches the SSH server"))
	return cmd
}

// mountSource takes "remote:instance/folder" apart; folder is empty without a slash.
func (c *App) mountSource(raw string) (server *client.Client, instance, folder string, err error) {
	server, name, err := c.parse(raw)
	if err != nil {
		return nil, "", "", err
	}
	instance, folder, found := strings.Cut(name, "/")
	if instance == "" {
		return nil, "", "", fmt.Errorf(T("Invalid instance path: %q"), raw)
	}
	if found {
		folder = path.Clean("/" + folder)
	}
	return server, instance, folder, nil
}

// mountFiles has sshfs mount a folder of an instance, and waits until it is not mounted any more.
func (c *App) mountFiles(ctx context.Context, server *client.Client, instance, folder, target string) error {
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New(T("Target path must be a directory"))
	}
	program, err := exec.LookPath("sshfs")
	if err != nil {
		return errors.New(T("sshfs not found. Install it (Debian: apt install sshfs), or use --listen and any SFTP client"))
	}
	conn, err := server.InstanceSFTP(instance)
	if err != nil {
		return err
	}
	if folder == "" {
		folder = "/"
	}
	// It speaks SFTP on its standard streams, and stays in the foreground. The name is only what lists of mounts show.
	cmd := exec.CommandContext(ctx, program, "-o", "slave", instance+":"+folder, target)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // on which it unmounts
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = c.Err
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		return errors.Join(err, conn.Close())
	}
	c.say(T("sshfs mounts %s%s on %s"), instance, folder, target)
	c.say(T("Press Ctrl-C to unmount"))
	join(conn, pipes{out, in})
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil // asked for
	}
	if err != nil {
		return fmt.Errorf("sshfs: %w", err)
	}
	c.say(T("sshfs has ended"))
	return nil
}

// pipes are both streams of a program.
type pipes struct {
	io.ReadCloser
	in io.WriteCloser
}

// Write implements io.Writer.
func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close implements io.Closer.
func (p pipes) Close() error { return errors.Join(p.in.Close(), p.ReadCloser.Close()) }

// join copies both ways until one side ends, and closes both.
func join(a, b io.ReadWriteCloser) {
	var both sync.WaitGroup
	end := sync.OnceFunc(func() { _, _ = a.Close(), b.Close() })
	for _, pair := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		both.Go(func() {
			defer end()
			_, _ = io.Copy(pair[0], pair[1])
		})
	}
	both.Wait()
}
