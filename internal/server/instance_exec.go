package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/exec"
)

// execAPI runs commands in instances and connects to their consoles.
type execAPI struct {
	svc *exec.Service
}

func (a execAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	var all []Route
	all = append(all, both("POST", "/{name}/exec", ofInstance(access.CanExec), a.exec)...)
	all = append(all, both("POST", "/{name}/console", ofInstance(access.CanUseConsole), a.console)...)
	all = append(all, both("GET", "/{name}/console", ofInstance(access.CanUseConsole), a.consoleLog)...)
	all = append(all, both("DELETE", "/{name}/console", ofInstance(access.CanUseConsole), a.clearConsoleLog)...)
	return all
}

func (a execAPI) exec(r *Request) Response {
	var post api.InstanceExecPost
	if err := r.Decode(&post); err != nil {
		return Fail(err)
	}
	task, err := a.svc.Exec(r.Context(), r.Project(), r.Var("name"), post)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}
