// Command berth-user gives users of this machine who are no administrators a project of their own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/unixsocket"
	"github.com/berthd/berth/internal/usersocket"
	"github.com/berthd/berth/internal/version"
)

// usersGroup is whose members may use the socket, where there is such a group.
const usersGroup = "berth-users"

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "berth-user",
		Short: "Berth for users who are no administrators",
		Long: `Answers on unix.socket.user in $BERTH_DIR, or /var/lib/berth, and hands whoever connects on to the daemon, in a project of their own.

The project is made when a user comes for the first time. It is restricted: its containers are unprivileged, and may see the user's home and no other folder.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE:              func(*cobra.Command, []string) error { return run(group) },
	}
	cmd.Flags().StringVar(&group, "group", "", "Group whose members may use the socket (default: berth-users, if there is one)")
	cmd.Version = version.Version
	cmd.SetVersionTemplate("{{.Version}}\n")
	return cmd
}

func rootDir() string {
	if dir := os.Getenv("BERTH_DIR"); dir != "" {
		return dir
	}
	return "/var/lib/berth"
}

func run(group string) error {
	if os.Getuid() != 0 {
		return errors.New("berth-user must be run as root")
	}
	root, err := filepath.Abs(rootDir())
	if err != nil {
		return err
	}
	listeners, err := sockets(root, group)
	if err != nil {
		return err
	}
	service, err := usersocket.New(root)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	var serving sync.WaitGroup
	errs := make([]error, len(listeners))
	for i, l := range listeners {
		serving.Go(func() { errs[i] = service.Serve(ctx, l); stop() })
		slog.Info("Users are served", "socket", l.Addr().String())
	}
	serving.Wait()
	return errors.Join(errs...)
}

// sockets are those of the service manager, or one of our own.
func sockets(root, group string) ([]*net.UnixListener, error) {
	passed, err := unixsocket.Passed()
	if err != nil {
		return nil, err
	}
	if len(passed) == 0 {
		if group == "" {
			if _, err := user.LookupGroup(usersGroup); err == nil {
				group = usersGroup
			}
		}
		l, err := unixsocket.Listen(filepath.Join(root, "unix.socket.user"), group)
		if err != nil {
			return nil, err
		}
		passed = append(passed, l)
	}
	var list []*net.UnixListener
	for _, l := range passed {
		u, ok := l.(*net.UnixListener)
		if !ok {
			return nil, fmt.Errorf("%s is no unix socket: users of the network have certificates", l.Addr())
		}
		list = append(list, u)
	}
	return list, nil
}
