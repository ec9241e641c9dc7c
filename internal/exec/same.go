package exec

import (
	"context"
	"io"
	"os"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/runtime"
)

// same is the runtime for a session in the instance that it was asked for in: by the time that the client connects, another one may have its name,
// and be somebody else's.
type same struct {
	Runtime
	in     Instances
	target Target
}

func (s *Service) same(t Target) Runtime { return same{s.Runtime, s.Instances, t} }

func (s same) check(ctx context.Context) error {
	now, err := s.in.Target(ctx, s.target.Project, s.target.Name)
	if err == nil && now.UUID != s.target.UUID {
		err = api.NotFound("Instance not found")
	}
	return err
}

// Exec implements Runtime.
func (s same) Exec(ctx context.Context, id string, r runtime.ExecRequest) (runtime.Command, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s.Runtime.Exec(ctx, id, r)
}

// Terminal implements Runtime.
func (s same) Terminal(ctx context.Context, id string) (controller, terminal *os.File, err error) {
	if err := s.check(ctx); err != nil {
		return nil, nil, err
	}
	return s.Runtime.Terminal(ctx, id)
}

// Console implements Runtime.
func (s same) Console(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s.Runtime.Console(ctx, id)
}
