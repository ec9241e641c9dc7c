package server

import (
	"github.com/berthd/berth/internal/resources"
)

func resourcesRoutes() []Route {
	return []Route{{Method: "GET", Path: "/1.0/resources", Handle: func(*Request) Response {
		res, err := resources.Read()
		if err != nil {
			return Fail(err)
		}
		return Sync(res)
	}}}
}
