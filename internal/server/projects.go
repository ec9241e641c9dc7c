package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/project"
)

type projectsAPI struct{ svc *project.Service }

func (a projectsAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	const one = "/1.0/projects/{name}"
	return []Route{
		{Method: "GET", Path: "/1.0/projects", Need: AnyoneTrusted, Handle: a.list},
		{Method: "POST", Path: "/1.0/projects", Need: Need{May: access.CanCreateProjects, On: access.Server}, Handle: a.create},
		{Method: "GET", Path: one, Need: on(access.Project, "name", access.CanView), Handle: a.get},
		{Method: "GET", Path: one + "/state", Need: on(access.Project, "name", access.CanView), Handle: a.state},
		{Method: "PUT", Path: one, Need: on(access.Project, "name", access.CanEdit), Handle: a.put},
		{Method: "PATCH", Path: one, Need: on(access.Project, "name", access.CanEdit), Handle: a.patch},
		{Method: "POST", Path: one, Need: on(access.Project, "name", access.CanEdit), Handle: a.rename},
		{Method: "DELETE", Path: one, Need: on(access.Project, "name", access.CanDelete), Handle: a.delete},
	}
}

func (a projectsAPI) list(r *Request) Response {
	f, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	urls := []string{}
	names := a.svc.Names()
	if r.guarded() {
		names = slices.DeleteFunc(names, func(name string) bool { return !r.caller.May(access.CanView, access.InProject(name)) })
	}
	if r.Recursion() == 0 && f.Empty() {
		for _, name := range names {
			urls = append(urls, project.URL("", "projects", name))
		}
		return Sync(urls)
	}
	kept := []*api.Project{}
	for _, p := range a.svc.List(names) {
		p.UsedBy = r.usedBy(p.UsedBy)
		if f.Match(p) {
			kept = append(kept, p)
			urls = append(urls, project.URL("", "projects", p.Name))
		}
	}
	if r.Recursion() > 0 {
		return Sync(kept)
	}
	return Sync(urls)
}

func (a projectsAPI) create(r *Request) Response {
	var req api.ProjectsPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.Create(r.Context(), req); err != nil {
		return Fail(err)
	}
	return Created(project.URL("", "projects", req.Name))
}

func (a projectsAPI) get(r *Request) Response {
	p, rev, err := a.svc.Get(r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	p.UsedBy = r.usedBy(p.UsedBy)
	return SyncETag(p, ETag(rev))
}

func (a projectsAPI) state(r *Request) Response {
	state, err := a.svc.State(r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return Sync(state)
}

func (a projectsAPI) put(r *Request) Response {
	var req api.ProjectPut
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	return done(a.svc.Put(r.Context(), r.Var("name"), req, matches(r)))
}

func (a projectsAPI) patch(r *Request) Response {
	var req api.ProjectPut
	has, err := decodePatch(r, &req)
	if err != nil {
		return Fail(err)
	}
	return done(a.svc.Patch(r.Context(), r.Var("name"), req, has("description"), matches(r)))
}

func (a projectsAPI) rename(r *Request) Response {
	var req api.ProjectPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.Rename(r.Context(), r.Var("name"), req.Name)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a projectsAPI) delete(r *Request) Response {
	return done(a.svc.Delete(r.Context(), r.Var("name")))
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

// asks notes which project it is that a request is about, by its name.
func (r *Request) asks(name string) {
	if projects := r.server.services.Projects; projects != nil && name != api.ProjectDefault {
		r.Request = r.WithContext(projects.Asked(r.Context(), name))
	}
}

// checkProject refuses calls about a project that does not exist.
func (s *Server) checkProject(r *Request) error {
	name := r.Query("project")
	// Who may not use a project does not hear of it; what is public there they may see, if there is any.
	if name == "" || s.services.Projects == nil || !r.caller.May(access.CanView, access.InProject(name)) {
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
