package server

import (
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/resources"
)

func resourcesRoutes() []Route {
	return []Route{{Method: "GET", Path: "/1.0/resources", Need: Need{May: access.CanViewResources, On: access.Server}, Handle: func(*Request) Response {
		res, err := resources.Read()
		if err != nil {
			return Fail(err)
		}
		return Sync(res)
	}}}
}
