package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/project"
)

type projectsAPI struct{ svc *project.Service }

func (a projectsAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	return []Route{
		{Method: "GET", Path: "/1.0/projects", Handle: a.list},
		{Method: "GET", Path: "/1.0/projects/{name}", Handle: a.get},
		{Method: "POST", Path: "/1.0/projects", Handle: defaultOnly},
		{Method: "PUT", Path: "/1.0/projects/{name}", Handle: defaultOnly},
		{Method: "PATCH", Path: "/1.0/projects/{name}", Handle: defaultOnly},
		{Method: "POST", Path: "/1.0/projects/{name}", Handle: defaultOnly},
		{Method: "DELETE", Path: "/1.0/projects/{name}", Handle: defaultOnly},
	}
}

// defaultOnly refuses to change projects, and says why: there is one.
func defaultOnly(*Request) Response {
	return Fail(api.NotImplemented("This version of Berth has one project, %q: projects cannot be created, changed or deleted yet", api.ProjectDefault))
}

func (a projectsAPI) list(r *Request) Response {
	f, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	urls := []string{}
	list := a.svc.List()
	kept := list[:0]
	for _, p := range list {
		if f.Match(&p) {
			kept = append(kept, p)
			urls = append(urls, project.URL(p.Name))
		}
	}
	if r.Recursion() > 0 {
		return Sync(kept)
	}
	return Sync(urls)
}

func (a projectsAPI) get(r *Request) Response {
	p, err := a.svc.Get(r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(p, contentETag(p.ProjectPut))
}

// contentETag is the version of an object that is not in the store.
func contentETag(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// ofProjects are the paths below which everything, and the lists which themselves, belong to a project. LXD's lists of instances,
// operations and warnings are empty in a project that does not exist: a name that is spelled wrong then looks like a loss.
var ofProjects = []string{"/1.0/profiles", "/1.0/images", "/1.0/networks", "/1.0/storage-pools", "/1.0/instances", "/1.0/containers", "/1.0/virtual-machines"}

// checkProject refuses calls about a project that does not exist.
func (s *Server) checkProject(r *Request) error {
	name := r.Query("project")
	if name == "" || s.services.Projects == nil {
		return nil
	}
	relevant := r.Method == http.MethodPost || r.URL.Path == "/1.0/operations" || r.URL.Path == "/1.0/warnings"
	for _, prefix := range ofProjects {
		relevant = relevant || strings.HasPrefix(r.URL.Path, prefix)
	}
	if !relevant {
		return nil
	}
	if err := s.services.Projects.Check(name); err != nil {
		return api.NotFound("Failed loading project %q: %w", name, err)
	}
	return nil
}
