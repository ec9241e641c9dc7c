package server

import (
	"net/http"
	"strings"

	"github.com/berthd/berth/internal/serverconfig"
)

// allowOrigin tells browsers what core.https_allowed_* say. It returns whether the request comes from a page that the
// administrator allowed.
func allowOrigin(w http.ResponseWriter, r *http.Request, c *serverconfig.Service) bool {
	if c == nil || r.Header.Get("Origin") == "" {
		return false
	}
	allowed := c.Get("core.https_allowed_origin")
	if allowed == "" {
		return false
	}
	origin := r.Header.Get("Origin")
	same := isOrigin(allowed, origin)
	if same {
		allowed = origin // browsers compare bytes
	}
	w.Header().Set("Access-Control-Allow-Origin", allowed)
	w.Header().Add("Vary", "Origin")
	if v := c.Get("core.https_allowed_methods"); v != "" {
		w.Header().Set("Access-Control-Allow-Methods", v)
	}
	if v := c.Get("core.https_allowed_headers"); v != "" {
		w.Header().Set("Access-Control-Allow-Headers", v)
	}
	if c.Bool("core.https_allowed_credentials") {
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	}
	return same
}

// isOrigin tells whether a page's origin is the one that the administrator allowed, as people write it.
func isOrigin(allowed, origin string) bool {
	return origin != "" && strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin)
}

// allowedOrigin tells whether the administrator allowed the pages of an origin to use the API.
func (s *Server) allowedOrigin(origin string) bool {
	c := s.services.Config
	return c != nil && isOrigin(c.Get("core.https_allowed_origin"), origin)
}
