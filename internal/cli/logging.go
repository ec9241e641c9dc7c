package cli

import (
	"log/slog"
)

// startLogging sends what packages log to standard error, as --verbose and --debug ask.
func (c *App) startLogging() {
	level := slog.LevelWarn
	switch {
	case c.flagDebug:
		level = slog.LevelDebug
	case c.flagVerbose:
		level = slog.LevelInfo
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: level})))
}
