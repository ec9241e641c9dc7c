package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/filter"
)

// Filter reads ?filter=; without one everything matches.
func (r *Request) Filter() (*filter.Clauses, error) {
	c, err := filter.Parse(r.Query("filter"))
	if err != nil {
		return nil, api.BadRequest("Invalid filter: %w", err)
	}
	return c, nil
}
