package server

import (
	"github.com/berthd/berth/internal/access"
	"net/http"
	"net/url"
)

func (a instancesAPI) logRoutes(add func(method, path string, need Need, handle func(*Request) Response)) {
	add("GET", "/{name}/logs", ofInstance(access.CanView), a.logs)
	add("GET", "/{name}/logs/{file}", ofInstance(access.CanView), a.log)
	add("DELETE", "/{name}/logs/{file}", ofInstance(access.CanEdit), a.deleteLog)
}

func (a instancesAPI) logs(r *Request) Response {
	names, err := a.svc.Logs(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	urls := []string{}
	for _, n := range names {
		urls = append(urls, collection(r)+"/"+url.PathEscape(r.Var("name"))+"/logs/"+url.PathEscape(n))
	}
	return Sync(urls)
}

func (a instancesAPI) log(r *Request) Response {
	f, err := a.svc.OpenLog(r.Context(), r.Project(), r.Var("name"), r.Var("file"))
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, hr *http.Request) error {
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, hr, "", st.ModTime(), f)
		return nil
	})
}

func (a instancesAPI) deleteLog(r *Request) Response {
	if err := a.svc.DeleteLog(r.Context(), r.Project(), r.Var("name"), r.Var("file")); err != nil {
		return Fail(err)
	}
	return Empty()
}
