package server

import (
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/exec"
	"github.com/berthd/berth/internal/identity"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/instance/files"
	"github.com/berthd/berth/internal/metrics"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/profile"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/warning"
)

// Services is everything the server translates to. A nil service has no routes.
type Services struct {
	Operations *operation.Manager
	Events     *event.Hub
	Instances  *instance.Service
	Profiles   *profile.Service
	Files      *files.Service
	Exec       *exec.Service

	Config       *serverconfig.Service
	Environment  Environment
	Lifetime     Lifetime
	Certificates *certificate.Service
	Identities   *identity.Service
	Projects     *project.Service
	Warnings     *warning.Service
	Storage      *storage.Service
	Networks     *network.Service
	Images       *image.Service
	Metrics      *metrics.Service

	ETagKey []byte // secret, and the same after a restart: clients keep ETags
}

// Routes lists all routes. Each resource's file makes its own; this is where they are joined.
func (s *Server) Routes() []Route {
	var all []Route
	all = append(all, rootRoutes()...)
	all = append(all, metadataRoutes(s.services.Instances)...)
	all = append(all, serverAPI{config: s.services.Config, environment: s.services.Environment, last: &s.lastServer}.routes()...)
	all = append(all, internalAPI{life: s.services.Lifetime}.routes()...)
	all = append(all, certificatesAPI{svc: s.services.Certificates}.routes()...)
	all = append(all, identitiesAPI{svc: s.services.Identities}.routes()...)
	all = append(all, authGroupsAPI{svc: s.services.Identities}.routes()...)
	all = append(all, providerGroupsAPI{svc: s.services.Identities}.routes()...)
	all = append(all, projectsAPI{svc: s.services.Projects}.routes()...)
	all = append(all, warningsAPI{svc: s.services.Warnings}.routes()...)
	all = append(all, metricsAPI{svc: s.services.Metrics, config: s.services.Config}.routes()...)
	all = append(all, clusterRoutes()...)
	all = append(all, resourcesRoutes()...)
	all = append(all, operationsAPI{ops: s.services.Operations}.routes()...)
	all = append(all, eventsAPI{hub: s.services.Events, allowed: s.allowedOrigin}.routes()...)
	all = append(all, instancesAPI{svc: s.services.Instances}.routes()...)
	all = append(all, execAPI{svc: s.services.Exec}.routes()...)
	all = append(all, filesAPI{svc: s.services.Files}.routes()...)
	all = append(all, profilesAPI{svc: s.services.Profiles}.routes()...)
	all = append(all, storagePoolsAPI{svc: s.services.Storage}.routes()...)
	all = append(all, networksAPI{svc: s.services.Networks}.routes()...)
	if s.services.Images != nil {
		all = append(all, imagesAPI{svc: s.services.Images}.routes()...)
	}
	return all
}

// both makes the routes of an instance path under every name that the API knows it by.
func both(method, path string, need Need, handle func(*Request) Response) []Route {
	var routes []Route
	for _, base := range []string{"/1.0/instances", "/1.0/containers", "/1.0/virtual-machines"} {
		// Only the list is sometimes just one of names; it waits itself.
		routes = append(routes, Route{Method: method, Path: base + path, Need: need, Live: path != "", Handle: handle})
	}
	return routes
}

// ofInstance is the need of an entitlement on the instance that a path names.
func ofInstance(may access.Entitlement) Need { return on(access.Instance, "name", may) }

func rootRoutes() []Route {
	return []Route{{Method: "GET", Path: "/", Public: true, Handle: func(*Request) Response {
		return Sync([]string{"/1.0"})
	}}}
}
