package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/project"
)

// imagesAPI is /1.0/images: what is public there, everybody sees.
type imagesAPI struct{ svc *image.Service }

func (a imagesAPI) routes() []Route {
	return []Route{
		{Method: "GET", Path: "/1.0/images", Public: true, Handle: a.list},
		{Method: "POST", Path: "/1.0/images", Need: amid(access.Image, access.CanCreateImages), Handle: a.create},
		{Method: "GET", Path: "/1.0/images/{fingerprint}", Public: true, Handle: a.get},
		{Method: "PUT", Path: "/1.0/images/{fingerprint}", Need: on(access.Image, "fingerprint", access.CanEdit), Handle: a.put},
		{Method: "PATCH", Path: "/1.0/images/{fingerprint}", Need: on(access.Image, "fingerprint", access.CanEdit), Handle: a.patch},
		{Method: "DELETE", Path: "/1.0/images/{fingerprint}", Need: on(access.Image, "fingerprint", access.CanDelete), Handle: a.remove},
		{Method: "GET", Path: "/1.0/images/{fingerprint}/export", Public: true, Handle: a.export},
		{Method: "POST", Path: "/1.0/images/{fingerprint}/secret", Need: on(access.Image, "fingerprint", access.CanView), Handle: a.secret},
		{Method: "POST", Path: "/1.0/images/{fingerprint}/refresh", Need: on(access.Image, "fingerprint", access.CanEdit), Handle: a.refresh},
		{Method: "GET", Path: "/1.0/images/aliases", Public: true, Handle: a.aliases},
		{Method: "POST", Path: "/1.0/images/aliases", Need: amid(access.ImageAlias, access.CanCreateAliases), Handle: a.createAlias},
		{Method: "GET", Path: "/1.0/images/aliases/{name...}", Public: true, Handle: a.alias},
		{Method: "PUT", Path: "/1.0/images/aliases/{name...}", Need: on(access.ImageAlias, "name", access.CanEdit), Handle: a.putAlias},
		{Method: "PATCH", Path: "/1.0/images/aliases/{name...}", Need: on(access.ImageAlias, "name", access.CanEdit), Handle: a.patchAlias},
		{Method: "POST", Path: "/1.0/images/aliases/{name...}", Need: on(access.ImageAlias, "name", access.CanEdit), Handle: a.renameAlias},
		{Method: "DELETE", Path: "/1.0/images/aliases/{name...}", Need: on(access.ImageAlias, "name", access.CanDelete), Handle: a.removeAlias},
	}
}

// publicOnly tells whether the caller sees nothing but public images. To whoever may not see a project it is as one that there is not.
func publicOnly(r *Request) bool {
	return !r.caller.May(access.CanViewImages, access.InProject(r.Project())) || r.URL.Query().Has("public")
}

// publicAlias tells whether the caller sees the alias of a path only if its image is public.
func publicAlias(r *Request) bool {
	return !r.sees(access.ImageAlias, r.Var("name")) || r.URL.Query().Has("public")
}

func (a imagesAPI) list(r *Request) Response {
	clauses, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	of := a.lookIn(r)
	home, urls, images := a.svc.Home(of), []string{}, []*api.Image{}
	for _, img := range a.svc.List(r.Context(), of, publicOnly(r)) {
		if clauses.Match(img) {
			images = append(images, img)
			urls = append(urls, project.URL(home, "images", img.Fingerprint))
		}
	}
	if r.Recursion() == 0 {
		return Sync(urls)
	}
	return Sync(images)
}

// nowhere is the name of no project.
const nowhere = "_"

// lookIn is the project whose public images a caller is shown who may not see it: those of its own, if it has some. What it shares would tell that
// there is such a project.
func (a imagesAPI) lookIn(r *Request) string {
	name := r.Project()
	if name == api.ProjectDefault || r.caller.May(access.CanView, access.InProject(name)) || a.svc.Home(name) == name {
		return name
	}
	return nowhere
}

// visible gives the fingerprint, or the start of it, by which the caller sees an image; 404 for one that it may not see.
func (a imagesAPI) visible(r *Request) (string, error) {
	if r.sees(access.Image, r.Var("fingerprint")) && !r.URL.Query().Has("secret") {
		return r.Var("fingerprint"), nil
	}
	return a.svc.Visible(r.Context(), a.lookIn(r), r.Var("fingerprint"), r.Query("secret"))
}

func (a imagesAPI) get(r *Request) Response {
	fingerprint, err := a.visible(r)
	if err != nil {
		return Fail(err)
	}
	img, rev, err := a.svc.Get(r.Context(), r.Project(), fingerprint)
	if err != nil {
		return Fail(err)
	}
	return SyncETag(img, ETag(rev))
}

func (a imagesAPI) put(r *Request) Response {
	var put api.ImagePut
	return a.change(r, &put, func(p *api.ImagePut) error { *p = put; return nil })
}

// patch changes the fields that are given.
func (a imagesAPI) patch(r *Request) Response {
	var body json.RawMessage
	return a.change(r, &body, func(p *api.ImagePut) error { return decodeOver(body, p) }) // what is not given is kept, and properties are merged
}

// change has an image edited by what of the request is decoded into body.
func (a imagesAPI) change(r *Request, body any, edit func(*api.ImagePut) error) Response {
	_, rev, err := a.svc.Get(r.Context(), r.Project(), r.Var("fingerprint"))
	if err == nil {
		err = r.IfMatch(ETag(rev)) // before the body, which may be long in coming
	}
	if err == nil {
		err = r.Decode(body)
	}
	if err == nil {
		err = a.svc.Update(r.Context(), r.Project(), r.Var("fingerprint"), edit, matches(r))
	}
	return done(err)
}

// decodeOver decodes a body over what there is.
func decodeOver(body json.RawMessage, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return api.BadRequest("%w", err)
	}
	return nil
}

func (a imagesAPI) remove(r *Request) Response {
	task, err := a.svc.Delete(r.Context(), r.Project(), r.Var("fingerprint"))
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a imagesAPI) secret(r *Request) Response {
	task, err := a.svc.Secret(r.Context(), r.Project(), r.Var("fingerprint"))
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a imagesAPI) refresh(r *Request) Response {
	task, err := a.svc.Refresh(r.Context(), r.Project(), r.Var("fingerprint"))
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

// create takes an image as the body (one file, or two in a multipart body), or a JSON description of where it is.
func (a imagesAPI) create(r *Request) Response {
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/json" || kind != "multipart/form-data" && beginsJSON(r) {
		return a.createFrom(r)
	}
	q, err := uploadRequest(r)
	if err != nil {
		return Fail(err)
	}
	var received *image.Received
	if kind == "multipart/form-data" {
		if params["boundary"] == "" {
			return Fail(api.BadRequest("multipart body without a boundary"))
		}
		received, err = a.svc.ReceiveParts(r.Context(), q.Project, multipart.NewReader(r.Body, params["boundary"]))
	} else {
		received, err = a.svc.ReceiveFile(r.Context(), q.Project, r.Body)
	}
	if err != nil {
		return Fail(err)
	}
	return Async(a.svc.Import(received, q))
}

// beginsJSON tells whether a body of another type holds JSON, as LXD finds out: curl -d names the type of a form. No image begins so.
func beginsJSON(r *Request) bool {
	body := bufio.NewReader(r.Body)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	// An indented text may have many blanks before its first key. No more is looked at than it takes to know.
	for size := 64; size <= body.Size(); size *= 2 {
		begin, err := body.Peek(size)
		begin, isObject := bytes.CutPrefix(bytes.TrimSpace(begin), []byte("{"))
		if begin = bytes.TrimSpace(begin); len(begin) > 0 || err != nil {
			return isObject && bytes.HasPrefix(begin, []byte(`"`))
		}
	}
	return false
}

// uploadRequest reads the headers of an upload.
func uploadRequest(r *Request) (image.Request, error) {
	q := image.Request{
		Project:     r.Project(),
		Fingerprint: r.Header.Get("X-LXD-fingerprint"),
		Filename:    r.Header.Get("X-LXD-filename"),
		Public:      isTrue(r.Header.Get("X-LXD-public")),
	}
	properties, err := url.ParseQuery(r.Header.Get("X-LXD-properties"))
	if err != nil {
		return q, api.BadRequest("X-LXD-properties: %w", err)
	}
	q.Properties = map[string]string{}
	for key := range properties {
		q.Properties[key] = properties.Get(key)
	}
	profiles, err := url.ParseQuery(r.Header.Get("X-LXD-profiles"))
	if err != nil {
		return q, api.BadRequest("X-LXD-profiles: %w", err)
	}
	q.Profiles = profiles["profile"]
	aliases, err := url.ParseQuery(r.Header.Get("X-LXD-aliases"))
	if err != nil {
		return q, api.BadRequest("X-LXD-aliases: %w", err)
	}
	for _, name := range aliases["alias"] {
		q.Aliases = append(q.Aliases, api.ImageAlias{Name: name})
	}
	return q, nil
}

func (a imagesAPI) createFrom(r *Request) Response {
	var req api.ImagesPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if req.Source == nil {
		return Fail(api.BadRequest("Invalid images JSON"))
	}
	q := image.Request{
		Project: r.Project(), Filename: req.Filename, Public: req.Public, AutoUpdate: req.AutoUpdate,
		Properties: req.Properties, Profiles: req.Profiles, Aliases: req.Aliases, ExpiresAt: req.ExpiresAt,
	}
	switch req.Source.Type {
	case "image":
		return Async(a.svc.Pull(*req.Source, q))
	case "url":
		task, err := a.svc.PullURL(req.Source.URL, q)
		if err != nil {
			return Fail(err)
		}
		return Async(task)
	case "instance", "container", "virtual-machine", "snapshot":
		task, err := a.svc.PublishInstance(r.Context(), req.Source.Name, req.CompressionAlgorithm, q)
		if err != nil {
			return Fail(err)
		}
		return Async(task)
	default:
		return Fail(errors.New("Invalid images JSON"))
	}
}

func (a imagesAPI) export(r *Request) Response {
	fingerprint, err := a.visible(r)
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, req *http.Request) error {
		files, err := a.svc.Export(req.Context(), r.Project(), fingerprint)
		if err != nil {
			return err
		}
		for _, f := range files {
			defer f.Close()
		}
		if len(files) == 1 {
			return serveFile(w, req, files[0])
		}
		return serveParts(w, files)
	})
}

func serveFile(w http.ResponseWriter, req *http.Request, f image.ExportFile) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "inline;filename="+f.Name)
	http.ServeContent(w, req, f.Name, info.ModTime(), f.File)
	return nil
}

func serveParts(w http.ResponseWriter, files []image.ExportFile) error {
	m := multipart.NewWriter(w)
	w.Header().Set("Content-Type", m.FormDataContentType())
	for _, f := range files {
		header := textproto.MIMEHeader{}
		header.Set("Content-Disposition", mime.FormatMediaType("form-data", map[string]string{"name": f.Part, "filename": f.Name}))
		header.Set("Content-Type", "application/octet-stream")
		part, err := m.CreatePart(header)
		if err != nil {
			return err
		}
		if _, err := f.WriteTo(part); err != nil {
			return err
		}
	}
	return m.Close()
}

func (a imagesAPI) aliases(r *Request) Response {
	of := a.lookIn(r)
	aliases := a.svc.Aliases(r.Context(), of, publicOnly(r))
	if r.Recursion() > 0 {
		return Sync(aliases)
	}
	home, urls := a.svc.Home(of), []string{}
	for _, alias := range aliases {
		urls = append(urls, project.URL(home, "images", "aliases", alias.Name))
	}
	return Sync(urls)
}

func (a imagesAPI) alias(r *Request) Response {
	alias, rev, err := a.svc.Alias(r.Context(), a.lookIn(r), r.Var("name"), publicAlias(r))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(alias, ETag(rev))
}

func (a imagesAPI) createAlias(r *Request) Response {
	var req api.ImageAliasesPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	location, err := a.svc.CreateAlias(r.Context(), r.Project(), req)
	if err != nil {
		return Fail(err)
	}
	return Created(location)
}

func (a imagesAPI) putAlias(r *Request) Response {
	var put api.ImageAliasesEntryPut
	return a.changeAlias(r, &put, func(p *api.ImageAliasesEntryPut) error { *p = put; return nil })
}

func (a imagesAPI) patchAlias(r *Request) Response {
	var body json.RawMessage
	return a.changeAlias(r, &body, func(p *api.ImageAliasesEntryPut) error {
		err := decodeOver(body, p)
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			err = api.BadRequest("`%s` was not a string", strings.ToLower(wrong.Field))
		}
		return err
	})
}

// changeAlias is change for an alias.
func (a imagesAPI) changeAlias(r *Request, body any, edit func(*api.ImageAliasesEntryPut) error) Response {
	_, rev, err := a.svc.Alias(r.Context(), r.Project(), r.Var("name"), false)
	if err == nil {
		err = r.IfMatch(ETag(rev))
	}
	if err == nil {
		err = r.Decode(body)
	}
	if err == nil {
		err = a.svc.UpdateAlias(r.Context(), r.Project(), r.Var("name"), edit, matches(r))
	}
	return done(err)
}

func (a imagesAPI) renameAlias(r *Request) Response {
	var req api.ImageAliasesEntryPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	location, err := a.svc.RenameAlias(r.Context(), r.Project(), r.Var("name"), req.Name)
	if err != nil {
		return Fail(err)
	}
	return Created(location)
}

func (a imagesAPI) removeAlias(r *Request) Response {
	if err := a.svc.DeleteAlias(r.Context(), r.Project(), r.Var("name")); err != nil {
		return Fail(err)
	}
	return Empty()
}
