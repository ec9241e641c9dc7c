package server

import (
	"net/http"
	"time"

	"github.com/berthd/berth/api"
)

func (a execAPI) console(r *Request) Response {
	var post api.InstanceConsolePost
	if err := r.Decode(&post); err != nil {
		return Fail(err)
	}
	task, err := a.svc.Console(r.Context(), r.Project(), r.Var("name"), post)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a execAPI) consoleLog(r *Request) Response {
	f, err := a.svc.OpenConsoleLog(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, hr *http.Request) error {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "inline;filename=console.log")
		if f == nil {
			return nil
		}
		defer func() { _ = f.Close() }()
		changed := time.Time{}
		if info, err := f.Stat(); err == nil {
			changed = info.ModTime()
		}
		http.ServeContent(w, hr, "", changed, f)
		return nil
	})
}

func (a execAPI) clearConsoleLog(r *Request) Response {
	if err := a.svc.ClearConsoleLog(r.Context(), r.Project(), r.Var("name")); err != nil {
		return Fail(err)
	}
	return Empty()
}
