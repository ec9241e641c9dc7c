package instance

import (
	"context"
	"errors"

	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// cannotFollow is why an instance keeps a profile from being changed.
type cannotFollow struct {
	project, name string
	error
}

func (e *cannotFollow) Unwrap() error { return e.error }

// untold is an error of which its reader may not know what it is about. What it says is kept from them, what kind it is of is not.
type untold struct{ about error }

func (untold) Error() string { return "An instance of another project cannot follow the profile" }

func (e untold) Unwrap() error { return e.about }

// discreet is an error of a profile's change as whoever asked may read it. Those who may change a profile need not see all who use it: other
// projects may share it. What does not say which instance it is about may be about any.
func (s *Service) discreet(ctx context.Context, project, profile string, err error) error {
	sees := request.Viewer(ctx, access.Instance)
	if err == nil || sees == nil {
		return err
	}
	var one *cannotFollow
	seen := func(row store.Row[Instance]) bool { return sees(row.Path[0], row.Path[1]) }
	if errors.As(err, &one) {
		seen = func(store.Row[Instance]) bool { return sees(one.project, one.name) }
	}
	for _, row := range s.profileUsers(project, profile) {
		if !seen(row) {
			return untold{err}
		}
	}
	return err
}
