package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/daemon"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/store"
)

// ask makes one request of the daemon on this machine, and decodes the answer's metadata into result, if there is one to decode into.
func ask(ctx context.Context, method, path string, result any) error {
	socket := filepath.Join(rootDir(), "unix.socket")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://berth"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer api.Response
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer)
	if err == nil && answer.Type == api.ErrorResponse {
		return &api.Error{Status: answer.ErrorCode, Message: answer.Error}
	}
	if err == nil && result != nil {
		err = json.Unmarshal(answer.Metadata, result)
	}
	if err != nil {
		return fmt.Errorf("answer of the daemon: %w", err)
	}
	return nil
}

func waitreadyCommand() *cobra.Command {
	var timeout int
	cmd := &cobra.Command{
		Use: "waitready", Short: "Wait until the daemon is ready", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if timeout > 0 {
				limited, cancel := context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
				defer cancel()
				ctx = limited
			}
			return waitReady(ctx)
		},
	}
	cmd.Flags().IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait; 0: without end")
	return cmd
}

// waitReady asks until the daemon says that it is ready. A daemon that starts has no socket for a moment.
func waitReady(ctx context.Context) error {
	for {
		err := ask(ctx, http.MethodGet, "/internal/ready", nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the daemon is not ready: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func shutdownCommand() *cobra.Command {
	var timeout int
	var force, ifRunning bool
	cmd := &cobra.Command{
		Use: "shutdown", Short: "Stop all instances and the daemon", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ifRunning {
				if running, err := daemon.Running(rootDir()); err != nil || !running {
					return err
				}
			}
			query := url.Values{}
			if force {
				query.Set("force", "true")
			}
			if timeout > 0 {
				query.Set("timeout", (time.Duration(timeout) * time.Second).String())
			}
			return shutdown(cmd.Context(), query, time.Duration(timeout)*time.Second)
		},
	}
	cmd.Flags().IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait for operations and instances; 0: as configured")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not wait for running operations")
	cmd.Flags().BoolVar(&ifRunning, "if-running", false, "Do nothing where no daemon runs, not even start one through a service manager's socket")
	return cmd
}

// endTime is how much longer than it was told to wait for operations and instances a daemon may take to end. The kernel keeps one of
// which a thread waits for a disk that hangs, and one that is stopped does not even answer.
var endTime = 10 * time.Second // shorter in tests

// shutdown ends the daemon and returns once its process has gone, or fails endTime after timeout, if there is one.
func shutdown(ctx context.Context, query url.Values, timeout time.Duration) error {
	if timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, timeout+endTime)
		defer cancel()
		ctx = limited
	}
	err := endDaemon(ctx, query)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the daemon has not ended %s after the time-out of %s", endTime, timeout)
	}
	return err
}

func endDaemon(ctx context.Context, query url.Values) error {
	end, err := watch(ctx)
	if err != nil {
		return err
	}
	defer end.close()
	err = ask(ctx, http.MethodPut, "/internal/shutdown?"+query.Encode(), nil)
	if err == nil || errors.Is(err, io.EOF) {
		err = end.wait(ctx)
	}
	return err
}

// gone waits for the end of a process, or for the deadline of ctx.
func gone(ctx context.Context, pidfd int) error {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		wait := -1
		if deadline, ok := ctx.Deadline(); ok {
			wait = max(int(time.Until(deadline).Milliseconds()), 0)
		}
		n, err := unix.Poll(poll, wait)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return context.DeadlineExceeded
		default:
			return nil
		}
	}
}

// daemonEnd is how the end of a daemon is seen.
type daemonEnd struct {
	pidfd  int           // of its process; -1: not seen from here
	holder *store.Holder // who has the store; nil: not seen from here
}

// watch looks for the daemon's process. The socket's peer is not always it: the kernel names whoever has begun to listen, and a service manager,
// which may have, does not end. The daemon says what its number is, but that of another PID namespace is nobody's here, or somebody else's.
func watch(ctx context.Context) (*daemonEnd, error) {
	var server api.Server
	if err := ask(ctx, http.MethodGet, "/1.0", &server); err != nil {
		return nil, err
	}
	end := &daemonEnd{pidfd: -1}
	if pidfd, err := unix.PidfdOpen(server.Environment.ServerPid, 0); err == nil {
		end.pidfd = pidfd
	}
	// Who is no root may not see the lock, and can only believe the number.
	holder, err := store.HolderOf(daemon.Path(rootDir()))
	if err != nil {
		return end, nil
	}
	end.holder = holder
	if end.pidfd >= 0 && !holder.Is(server.Environment.ServerPid) {
		_ = unix.Close(end.pidfd)
		end.pidfd = -1
	}
	return end, nil
}

// wait returns when the daemon has ended.
func (e *daemonEnd) wait(ctx context.Context) error {
	switch {
	case e.pidfd >= 0:
		return gone(ctx, e.pidfd)
	case e.holder != nil:
		return e.holder.Wait(ctx)
	}
	return errors.New("the daemon ends, but when it has ended cannot be seen from here: it is in another PID namespace, and the lock of its store out of reach")
}

func (e *daemonEnd) close() {
	if e.pidfd >= 0 {
		_ = unix.Close(e.pidfd)
	}
	if e.holder != nil {
		e.holder.Close()
	}
}

func activateCommand(o *daemonOptions) *cobra.Command {
	return &cobra.Command{
		Use: "activateifneeded", Short: "Start the daemon if something needs it", Args: cobra.NoArgs,
		Long: `Where a service manager holds the socket, the first request starts the daemon. This command makes that request
when instances are to be started with the machine, or when the daemon listens on the network.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reason, err := daemon.Needed(rootDir())
			if err != nil {
				return err
			}
			if o.debug || o.verbose {
				said := reason
				if said == "" {
					said = "No need to start the daemon now"
				}
				fmt.Fprintln(cmd.ErrOrStderr(), said)
			}
			if reason == "" {
				return nil
			}
			return ask(cmd.Context(), http.MethodGet, "/1.0", nil)
		},
	}
}

func debugCommand() *cobra.Command {
	debug := &cobra.Command{Use: "debug", Short: "Look at the daemon's inside", Args: cobra.NoArgs, Hidden: true}
	debug.AddCommand(&cobra.Command{
		Use: "faults", Short: "List the fault points of this build", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			for _, name := range fault.Names() {
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
		},
	})
	return debug
}
