package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager, if there is one, how the daemon is. Nothing depends on whether it hears that.
func notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		slog.Debug("The service manager was not told", "state", state, "err", err)
	}
}

// notifyReady says that the daemon is up: what was cut off is taken up again, and calls are answered. Instances that start with the
// machine may still be starting, for longer than a service manager waits for a service.
func notifyReady() { notify(daemon.SdNotifyReady) }

// notifyStopping says that the daemon ends, from when it does not take long any more.
func notifyStopping() { notify(daemon.SdNotifyStopping) }

// watchdog shows the service manager that the daemon is alive, where that wants to be shown, until ctx ends. alive returns when
// what everything else needs can be had.
func watchdog(ctx context.Context, alive func()) {
	limit, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		slog.Warn("The service manager's watchdog is not understood", "err", err)
	}
	if err != nil || limit <= 0 {
		return
	}
	beat := time.NewTicker(limit / 3) // one may be late
	defer beat.Stop()
	for {
		alive()
		notify(daemon.SdNotifyWatchdog)
		select {
		case <-beat.C:
		case <-ctx.Done():
			return
		}
	}
}
