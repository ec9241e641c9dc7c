package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/daemon"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/version"
)

type daemonOptions struct {
	debug, verbose, syslog bool
	logfile, group         string
	trace                  []string
}

func (o daemonOptions) level() slog.Level {
	switch {
	case o.debug || len(o.trace) > 0:
		return slog.LevelDebug
	case o.verbose:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// garbage is how much of the heap in use, in percent, may become garbage before it is collected. A daemon that stays small
// is worth collecting twice as often as Go does: with 1,000 running containers that is 1 % of the daemon's CPU time more,
// and a fifth of its memory less.
const garbage = 50

func runDaemon(o daemonOptions) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getuid() != 0 {
		return errors.New("the daemon must be run as root")
	}
	root, err := filepath.Abs(rootDir())
	if err != nil {
		return err
	}
	if err := keepDescriptors(); err != nil {
		return err
	}
	hub := event.NewHub()
	closeLog, err := startLog(o, hub)
	if err != nil {
		return err
	}
	defer closeLog()
	slog.Info("Berth is starting", "version", version.Version, "path", root)

	// Signals are heard before the store opens, so that none of them ends the daemon half way through its start.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	defer stop()
	// Caught and dropped instead of ignored: what is ignored stays so in every program that the daemon starts, down to the
	// processes of the instances, and a command inside could not be hung up.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE, unix.SIGHUP)
	d, err := daemon.New(daemon.Options{
		Root: root, Group: o.group, Hub: hub, UnprivilegedOnly: config.IsTrue(os.Getenv("BERTH_UNPRIVILEGED_ONLY")),
	})
	if err != nil {
		return err
	}
	power := make(chan os.Signal, 1)
	signal.Notify(power, unix.SIGPWR)
	defer signal.Stop(power)
	go func() {
		select {
		case <-power:
			slog.Info("The machine goes down: instances are stopped")
			d.Halt()
		case <-ctx.Done():
		}
	}()
	return d.Run(ctx)
}

// keepDescriptors keeps what was open where the daemon was started, sockets of a service manager among it, from the programs that the daemon
// starts, and from guests.
func keepDescriptors() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) { // Linux 5.11
		return err
	}
	open, err := os.ReadDir("/proc/self/fd")
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// startLog sends log lines to standard error, to a file and to syslog as asked, and to whoever listens to events.
func startLog(o daemonOptions, hub *event.Hub) (func(), error) {
	out := []io.Writer{os.Stderr}
	closeAll := func() {}
	if o.logfile != "" {
		f, err := os.OpenFile(o.logfile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		out = append(out, f)
		closeAll = func() { _ = f.Close() }
	}
	if o.syslog {
		w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "berthd")
		if err != nil {
			fmt.Fprintln(os.Stderr, "berthd: no syslog here, going on without:", err)
		} else {
			out = append(out, w)
			before := closeAll
			closeAll = func() { _ = w.Close(); before() }
		}
	}
	text := slog.NewTextHandler(io.MultiWriter(out...), &slog.HandlerOptions{Level: o.level()})
	slog.SetDefault(slog.New(event.LogHandler(hub, text)))
	return closeAll, nil
}
