package server

import (
	"net/http"
	"strings"

	"github.com/berthd/berth/api"
)

// standalone is what a server that is no member of a cluster is called as a target.
const standalone = "none"

// checkTarget refuses ?target= where it says which member of a cluster is meant: this server stands alone. Routes for which every member has
// the same answer take no notice of it, as those of LXD.
func (r *Request) checkTarget() error {
	target := r.Query("target")
	if target == "" {
		return nil
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource := ""
	if len(path) > 1 {
		resource = path[1]
	}
	writes := r.Method != http.MethodGet && r.Method != http.MethodHead
	switch resource {
	case "instances", "containers", "virtual-machines":
		switch {
		case r.Method == http.MethodPost && len(path) == 2:
			return api.BadRequest("Target only allowed when clustered")
		case r.Method == http.MethodPost && len(path) == 3 && target == standalone:
			return api.BadRequest("Target node is offline")
		case r.Method == http.MethodPost && len(path) == 3:
			return api.NotFound("Failed to get target node: Cluster member not found")
		}
		return nil
	case "networks", "storage-pools":
		if len(path) == 2 && !writes {
			return nil
		}
	case "", "resources":
	default:
		return nil
	}
	if target != standalone {
		return api.NotFound("Cluster member not found")
	}
	return nil
}
