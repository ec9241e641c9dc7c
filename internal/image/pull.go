package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/fetch"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// Remote is where images come from over the network. The daemon supplies it, so that one client with one policy makes
// all fetches.
type Remote interface {
	// Describe finds the image that a source names on its server, without its files.
	Describe(ctx context.Context, src api.ImagesPostSource) (*api.Image, error)
	// Export opens the files of the image: contentType is that of the answer, multipart for a split image.
	Export(ctx context.Context, src api.ImagesPostSource, fingerprint string) (body io.ReadCloser, contentType string, err error)
	// Direct opens an image on a plain web server. fingerprint is what that server says; size is -1 if it does not say one.
	Direct(ctx context.Context, address string, architectures []string) (body io.ReadCloser, fingerprint string, size int64, err error)
}

// Pull gives the task that fetches an image from another server.
func (s *Service) Pull(src api.ImagesPostSource, q Request) *operation.Task {
	return &operation.Task{
		Description: "Downloading image",
		MayCancel:   true,
		Run: func(ctx context.Context, p operation.Progress) error {
			_, err := s.pull(ctx, p, src, q)
			return err
		},
	}
}

// pull fetches an image unless the project has it, and returns its fingerprint.
func (s *Service) pull(ctx context.Context, p operation.Progress, src api.ImagesPostSource, q Request) (string, error) {
	if err := s.checkSource(src); err != nil {
		return "", err
	}
	if err := checkAliases(q.Aliases); err != nil { // before anything is fetched
		return "", err
	}
	if src.Fingerprint != "" { // is what is fetched, as with LXD: nobody says by this what the alias beside it means there
		src.Alias = ""
	}
	far, err := s.Remote.Describe(ctx, src)
	if err != nil {
		return "", err
	}
	if row, err := s.find(q.Project, far.Fingerprint); err == nil {
		p.Update(map[string]any{"fingerprint": row.Path[1]})
		return row.Path[1], s.addAliases(ctx, q, row.Path[1])
	}
	r, q, err := s.download(ctx, p, src, far, q)
	if err != nil {
		return "", err
	}
	if err := s.importReceived(ctx, p, r, q); err != nil {
		if row, found := s.find(q.Project, far.Fingerprint); found == nil && api.IsConflict(err) {
			return row.Path[1], s.addAliases(ctx, q, row.Path[1]) // somebody else fetched it meanwhile
		}
		return "", err
	}
	return r.Fingerprint, nil
}

func (s *Service) checkSource(src api.ImagesPostSource) error {
	if s.Remote == nil {
		return api.NotImplemented("This server does not fetch images")
	}
	if src.Protocol != "" && src.Protocol != "lxd" {
		return api.BadRequest("Unsupported protocol: %s", src.Protocol)
	}
	return nil
}

// download receives the files of an image that its server has described, and adds to the request what it said.
func (s *Service) download(ctx context.Context, p operation.Progress, src api.ImagesPostSource, far *api.Image, q Request) (*Received, Request, error) {
	body, contentType, err := s.Remote.Export(ctx, src, far.Fingerprint)
	if err != nil {
		return nil, q, err
	}
	defer body.Close()
	r, err := s.receiveAny(ctx, withProgress(body, far.Size, p), contentType, q)
	if err != nil {
		return nil, q, err
	}
	q.Fingerprint = far.Fingerprint
	if q.Filename == "" {
		q.Filename = far.Filename
	}
	if q.Properties == nil {
		q.Properties = far.Properties
	}
	if src.Alias != "" {
		source := src.ImageSource
		source.ImageType = far.Type
		policy := fetch.PolicyFrom(ctx)
		q.Source, q.Policy = &source, &policy
	}
	return r, q, nil
}

// addAliases gives the aliases asked for to an image that is here already.
func (s *Service) addAliases(ctx context.Context, q Request, fingerprint string) error {
	if len(q.Aliases) == 0 {
		return nil
	}
	home, err := s.homeFor(ctx, access.ImageAlias, q.Project, access.CanCreateAliases, "")
	if err != nil {
		return err
	}
	_, release, err := s.holdTarget(ctx, home, fingerprint)
	if err != nil {
		return err
	}
	defer release()
	if err := s.mayName(ctx, home, q.Aliases); err != nil {
		return err
	}
	_, err = s.Store.CommitAll(ctx, s.aliasOps(home, q.Aliases, fingerprint))
	return err
}

// aliasOps are the ops that make aliases in the project where they are, whatever they named before.
func (s *Service) aliasOps(home string, aliases []api.ImageAlias, fingerprint string) []store.Op {
	var ops []store.Op
	for n, a := range aliases {
		if slices.ContainsFunc(aliases[n+1:], func(later api.ImageAlias) bool { return later.Name == a.Name }) {
			continue // the last of one name counts
		}
		ops = append(ops, s.aliases.Put(&alias{Target: fingerprint, Description: a.Description}, home, a.Name))
	}
	return ops
}

// receiveAny takes a split image from a multipart body and a unified one from any other.
func (s *Service) receiveAny(ctx context.Context, body io.Reader, contentType string, q Request) (*Received, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err == nil && kind == "multipart/form-data" {
		if params["boundary"] == "" {
			return nil, errors.New("multipart image without a boundary")
		}
		parts := multipart.NewReader(body, params["boundary"])
		return s.receiveBy(ctx, q.Project, q.place, func(r *Received) error { return r.storeParts(ctx, parts) })
	}
	return s.receiveBy(ctx, q.Project, q.place, func(r *Received) error { return r.store(ctx, "meta", body) })
}

// withProgress shows how much of a body has come.
func withProgress(body io.Reader, size int64, p operation.Progress) io.Reader {
	show := rate(func(percent int, perSecond int64) {
		p.Update(map[string]any{"download_progress": fmt.Sprintf("rootfs: %d%% (%s/s)", percent, config.FormatDecimal(perSecond))})
	})
	return &progressReader{r: body, size: size, show: show}
}

type progressReader struct {
	r       io.Reader
	n, size int64
	show    func(read, size int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	p.show(p.n, p.size)
	return n, err
}
