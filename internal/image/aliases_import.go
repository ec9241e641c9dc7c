package image

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// kindAliases is an image that is there, and still has to get most of its aliases.
const kindAliases = "image.aliases"

// fewAliases are as many as fit beside a new image in one commit.
const fewAliases = store.MaxOps / 2

type aliasesEntry struct {
	Project     string           `json:"project"` // as the request names it
	Fingerprint string           `json:"fingerprint"`
	Aliases     []api.ImageAlias `json:"aliases"`
}

// createRecord commits a new image, with its aliases: in one commit, or where there are very many in several, under a journal entry. A
// failure after the first of these leaves the image as it is, and of its aliases those that it has got: errAliases.
func (s *Service) createRecord(ctx context.Context, home string, q Request, fingerprint string, image ...store.Op) error {
	if err := s.mayName(ctx, home, q.Aliases); err != nil {
		return err
	}
	aliases := s.aliasOps(home, q.Aliases, fingerprint)
	if len(aliases) <= fewAliases {
		_, err := s.Store.Commit(ctx, append(image, aliases...)...)
		return err
	}
	entry, err := s.Journal.Begin(ctx, kindAliases, aliasesEntry{Project: home, Fingerprint: fingerprint, Aliases: q.Aliases}, image...)
	if err != nil {
		return err
	}
	if _, err := s.Store.CommitAll(ctx, aliases, entry.Done()); err != nil {
		return errors.Join(errAliases, err, entry.Close(context.WithoutCancel(ctx)))
	}
	return nil
}

// mayName fails unless the caller may make aliases, and change those that there are: whoever launches by one gets what it names.
func (s *Service) mayName(ctx context.Context, home string, aliases []api.ImageAlias) error {
	for _, a := range aliases {
		may, o := access.CanCreateAliases, access.InProject(home)
		if _, there := s.aliases.Get(home, a.Name); there {
			may, o = access.CanEdit, access.Object{Entity: access.ImageAlias, Project: home, Name: a.Name}
		}
		if err := request.Require(ctx, may, o); err != nil {
			return err
		}
	}
	return nil
}

var errAliases = errors.New("the image is there, and not all of its aliases")

// finishAliases gives an image the aliases that a kill has kept it from. Nobody has changed them since.
func (s *Service) finishAliases(ctx context.Context, data json.RawMessage) error {
	var e aliasesEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	if _, ok := s.images.Get(s.Home(e.Project), e.Fingerprint); !ok {
		return nil
	}
	_, err := s.Store.CommitAll(ctx, s.aliasOps(s.Home(e.Project), e.Aliases, e.Fingerprint))
	return err
}
