package image

import (
	"context"
	"errors"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
)

// Resolve finds the image that a source names: by alias, by fingerprint or a unique prefix, or by properties, of which
// the newest match wins. An image on another server is fetched first.
func (s *Service) Resolve(ctx context.Context, project string, src api.InstanceSource) (*api.Image, error) {
	if src.Server != "" {
		return s.resolveRemote(ctx, project, src)
	}
	img, err := s.resolveLocal(ctx, project, src)
	if err != nil {
		return nil, err
	}
	// Whoever may make instances may not see each image by that.
	c := request.CallerFrom(ctx)
	if !img.Public && !c.May(access.CanViewImages, access.InProject(project)) &&
		!c.May(access.CanView, access.Object{Entity: access.Image, Project: s.Home(project), Name: img.Fingerprint}) {
		return nil, api.NotFound("%s", errNotFound)
	}
	return img, nil
}

func (s *Service) resolveLocal(ctx context.Context, project string, src api.InstanceSource) (*api.Image, error) {
	switch {
	case src.Alias != "":
		if src.Fingerprint != "" {
			return nil, api.BadRequest("Only one of alias or fingerprint may be given")
		}
		return s.ByAlias(ctx, project, src.Alias)
	case src.Fingerprint != "":
		img, _, err := s.Get(ctx, project, src.Fingerprint)
		return img, err
	case len(src.Properties) > 0:
		return s.byProperties(ctx, project, src.Properties)
	default:
		return nil, errors.New("Must specify one of alias, fingerprint or properties for init from image")
	}
}

// ByAlias gives the image that an alias names. A fingerprint prefix is accepted in its place, as people type either.
func (s *Service) ByAlias(ctx context.Context, project, name string) (*api.Image, error) {
	row, err := s.findAlias(project, name)
	if err != nil {
		return nil, err
	}
	img, _, err := s.Get(ctx, project, row.Value.Target)
	return img, err
}

func (s *Service) byProperties(ctx context.Context, project string, want map[string]string) (*api.Image, error) {
	var newest *api.Image
	preferred := s.preferredArchitecture(project, want)
	for _, img := range s.List(ctx, project, false) {
		if !matches(img.Properties, want) {
			continue
		}
		if newest != nil && (newest.Architecture == preferred) != (img.Architecture == preferred) {
			if img.Architecture == preferred {
				newest = img
			}
			continue
		}
		if newest == nil || img.CreatedAt.After(newest.CreatedAt) {
			newest = img
		}
	}
	if newest == nil {
		return nil, errors.New("No matching image could be found")
	}
	return newest, nil
}

// preferredArchitecture is the one to take when properties match images of several; "" if the properties say one.
func (s *Service) preferredArchitecture(project string, want map[string]string) string {
	if s.Setting == nil || want["architecture"] != "" {
		return ""
	}
	return s.Setting(project, "images.default_architecture")
}

func matches(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// resolveRemote fetches an image from another server unless it is here already. It is kept as cached, and until it goes
// from the cache is what its alias there means: instances of one day are alike, and need no network.
func (s *Service) resolveRemote(ctx context.Context, project string, src api.InstanceSource) (*api.Image, error) {
	if src.Fingerprint == "" {
		if img := s.cached(project, src); img != nil {
			return img, nil
		}
	}
	pull := api.ImagesPostSource{
		ImageSource: api.ImageSource{Alias: src.Alias, Certificate: src.Certificate, Protocol: src.Protocol, Server: src.Server},
		Mode:        "pull", Type: "image", Fingerprint: src.Fingerprint, Secret: src.Secret,
	}
	fingerprint, err := s.pull(ctx, operation.NoProgress{}, pull, Request{Project: project, Cached: true, AutoUpdate: s.Setting != nil && s.Setting(project, "images.auto_update_cached") != "false"})
	if err != nil {
		return nil, err
	}
	img, _, err := s.Get(ctx, project, fingerprint)
	return img, err
}

// cached is the newest cached image that came by the source's alias, or nil.
func (s *Service) cached(project string, src api.InstanceSource) *api.Image {
	if src.Alias == "" {
		return nil
	}
	var newest *api.Image
	for _, img := range s.List(context.Background(), project, false) {
		from := img.UpdateSource
		if !img.Cached || from == nil || !sameSource(*from, src) {
			continue
		}
		if newest == nil || img.UploadedAt.After(newest.UploadedAt) {
			newest = img
		}
	}
	return newest
}

// sameSource tells whether an image came from where a source says. A server with another certificate is another server.
func sameSource(from api.ImageSource, src api.InstanceSource) bool {
	return from.Server == src.Server && from.Alias == src.Alias && protocolOf(from.Protocol) == protocolOf(src.Protocol) &&
		strings.TrimSpace(from.Certificate) == strings.TrimSpace(src.Certificate)
}

// protocolOf is a source's protocol, which may be left out.
func protocolOf(protocol string) string {
	if protocol == "" {
		return "lxd"
	}
	return protocol
}
