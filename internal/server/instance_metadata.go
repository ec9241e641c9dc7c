package server

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
)

func (a instancesAPI) metadataRoutes(add func(method, path string, need Need, handle func(*Request) Response)) {
	add("GET", "/{name}/metadata", ofInstance(access.CanView), a.metadata)
	add("PUT", "/{name}/metadata", ofInstance(access.CanEdit), a.setMetadata)
	add("PATCH", "/{name}/metadata", ofInstance(access.CanEdit), a.setMetadata)
	add("GET", "/{name}/metadata/templates", ofInstance(access.CanView), a.template)
	add("POST", "/{name}/metadata/templates", ofInstance(access.CanEdit), a.setTemplate)
	add("DELETE", "/{name}/metadata/templates", ofInstance(access.CanEdit), a.deleteTemplate)
}

func (a instancesAPI) metadata(r *Request) Response {
	meta, err := a.svc.Metadata(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(meta, contentETag(meta))
}

func (a instancesAPI) setMetadata(r *Request) Response {
	var body json.RawMessage
	if err := r.Decode(&body); err != nil {
		return Fail(err)
	}
	err := a.svc.SetMetadata(r.Context(), r.Project(), r.Var("name"), func(meta *api.ImageMetadata) error {
		if err := r.IfMatch(contentETag(meta)); err != nil {
			return err
		}
		if r.Method == "PUT" {
			*meta = api.ImageMetadata{}
		}
		if err := json.Unmarshal(body, meta); err != nil {
			return api.BadRequest("%w", err)
		}
		for name, t := range meta.Templates {
			if t == nil {
				delete(meta.Templates, name)
			}
		}
		return nil
	})
	if err != nil {
		return Fail(err)
	}
	return Empty()
}

// template lists the templates, or with ?path= sends one.
func (a instancesAPI) template(r *Request) Response {
	file := r.Query("path")
	if file == "" {
		names, err := a.svc.Templates(r.Context(), r.Project(), r.Var("name"))
		if err != nil {
			return Fail(err)
		}
		return Sync(names)
	}
	data, err := a.svc.Template(r.Context(), r.Project(), r.Var("name"), file)
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, err := w.Write(data)
		return err
	})
}

func (a instancesAPI) setTemplate(r *Request) Response {
	file := r.Query("path")
	if file == "" {
		return Fail(api.BadRequest("missing path argument"))
	}
	if err := a.svc.SetTemplate(r.Context(), r.Project(), r.Var("name"), file, r.Body); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a instancesAPI) deleteTemplate(r *Request) Response {
	file := r.Query("path")
	if file == "" {
		return Fail(api.BadRequest("missing path argument"))
	}
	if err := a.svc.DeleteTemplate(r.Context(), r.Project(), r.Var("name"), file); err != nil {
		return Fail(err)
	}
	return Empty()
}
