package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
)

func (a instancesAPI) stateRoutes(add func(method, path string, need Need, handle func(*Request) Response)) {
	add("GET", "/{name}/state", ofInstance(access.CanView), a.state)
	add("PUT", "/{name}/state", ofInstance(access.CanUpdateState), a.setState)
}

func (a instancesAPI) state(r *Request) Response {
	state, err := a.svc.State(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return Sync(state)
}

func (a instancesAPI) setState(r *Request) Response {
	req := api.InstanceStatePut{Timeout: -1}
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.SetState(r.Context(), r.Project(), r.Var("name"), req)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

// stateAll changes the state of every instance of the project.
func (a instancesAPI) stateAll(r *Request) Response {
	req := api.InstancesPut{State: &api.InstanceStatePut{Timeout: -1}}
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if req.State == nil {
		return Fail(api.BadRequest("No state provided"))
	}
	task, err := a.svc.SetStateAll(r.Context(), r.Project(), *req.State)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}
