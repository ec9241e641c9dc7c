package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/device"
)

// sourceTime is how long the disk or the server that a source is on may take to answer: whoever asks holds the instance, and its profiles.
const sourceTime = 10 * time.Second

// ofSource asks the kernel about a source, which may be on a disk or a server that hangs: then it fails with api.Unavailable.
func ofSource[T any](ctx context.Context, m *Module, source string, call func() (T, error)) (T, error) {
	limit := m.patience
	if limit == 0 {
		limit = sourceTime
	}
	value, err := bounded.Do(ctx, &m.asked, source, limit, call)
	if errors.Is(err, bounded.ErrHung) {
		err = api.Unavailable("Source path %q %w", source, err)
	}
	return value, err
}

// stat looks at a source of the host, as far as its project lets it.
func (m *Module) stat(ctx context.Context, project, source string) (os.FileInfo, error) {
	return ofSource(ctx, m, source, func() (os.FileInfo, error) {
		f, err := m.open(project, source)
		if err != nil {
			return nil, err
		}
		if f == nil {
			return os.Stat(source)
		}
		defer func() { _ = f.Close() }()
		return f.Stat()
	})
}

// Answers implements device.Answerer.
func (m *Module) Answers(ctx context.Context, inst device.Instance, cfg device.Config) error {
	if cfg["pool"] != "" || !filepath.IsAbs(cfg["source"]) { // pools have their own bounds
		return nil
	}
	if _, err := m.stat(ctx, inst.Project, cfg["source"]); api.IsUnavailable(err) {
		return err
	}
	return ctx.Err()
}
