package certificate

import (
	"context"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// tidy is a list of projects without any that is named twice, in the order given; never nil.
func tidy(names []string) []string {
	out := []string{}
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// holdProjects keeps projects from going or being renamed until what names them is kept.
func (s *Service) holdProjects(ctx context.Context, names []string) (release func(), err error) {
	if len(names) == 0 {
		return func() {}, nil
	}
	return s.Projects.HoldAll(ctx, "change the trust store", tidy(names))
}

// RenameProject are the ops by which certificates and tokens follow a project that gets another name.
func (s *Service) RenameProject(old, renamed string) []store.Op {
	return s.replaceProject(old, func(names []string, at int) []string { names[at] = renamed; return names })
}

// RemoveProject are the ops by which certificates and tokens are for a project no more that goes. Those that are restricted stay so.
func (s *Service) RemoveProject(name string) []store.Op {
	return s.replaceProject(name, func(names []string, at int) []string { return slices.Delete(names, at, at+1) })
}

func (s *Service) replaceProject(name string, edit func(names []string, at int) []string) []store.Op {
	var ops []store.Op
	for _, row := range s.table.List() {
		if at := slices.Index(row.Value.Projects, name); at >= 0 {
			next := clone(row.Value)
			next.Projects = edit(next.Projects, at)
			ops = append(ops, s.table.Replace(row, &next))
		}
	}
	for _, row := range s.tokens.List() {
		if at := slices.Index(row.Value.Projects, name); at >= 0 {
			next := *row.Value
			next.Projects = edit(slices.Clone(next.Projects), at)
			ops = append(ops, s.tokens.Replace(row, &next))
		}
	}
	return ops
}

// request is what asked for a token, as operations show it.
func (r *tokenRecord) request() api.CertificatesPost {
	return api.CertificatesPost{Token: true, CertificatePut: api.CertificatePut{Name: r.Name, Type: "client", Restricted: r.Restricted, Projects: tidy(r.Projects)}}
}
