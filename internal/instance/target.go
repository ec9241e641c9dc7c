package instance

import (
	"context"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/exec"
)

var _ exec.Instances = (*Service)(nil)

// Target is an instance as sessions of exec and console need it.
func (s *Service) Target(_ context.Context, project, name string) (exec.Target, error) {
	row, err := s.get(project, name)
	if err != nil {
		return exec.Target{}, err
	}
	i := row.Value
	config, _ := expand(s.Profiles, i.Project, &i.Body)
	env := map[string]string{}
	for key, value := range config {
		if variable, ok := strings.CutPrefix(key, "environment."); ok {
			env[variable] = value
		}
	}
	return exec.Target{
		ID: i.id(), UUID: i.UUID, Name: name, Project: project, VM: i.Type == api.InstanceTypeVM, Status: s.Runtime.Status(i.id()),
		Environment: env, Logs: s.logPath(i.id()),
	}, nil
}
