package api

// ProjectDefault is the project that always exists.
const ProjectDefault = "default"

// ProjectPut is the part of a project that PUT and PATCH change.
type ProjectPut struct {
	Config      map[string]string `json:"config" yaml:"config"`
	Description string            `json:"description" yaml:"description"`
}

// ProjectPost renames a project.
type ProjectPost struct {
	Name string `json:"name" yaml:"name"`
}

// ProjectsPost asks for a new project.
type ProjectsPost struct {
	ProjectPut `yaml:",inline"`
	Name       string `json:"name" yaml:"name"`
}

// Project is what GET /1.0/projects/<name> shows.
type Project struct {
	ProjectPut `yaml:",inline"`
	Name       string   `json:"name" yaml:"name"`
	UsedBy     []string `json:"used_by" yaml:"used_by"`
}

// ProjectState is what GET /1.0/projects/<name>/state shows.
type ProjectState struct {
	Resources map[string]ProjectStateResource `json:"resources" yaml:"resources"`
}

// ProjectStateResource is the use of one resource; a limit of -1 means that there is none. The names of the fields are LXD's.
type ProjectStateResource struct {
	Limit int64
	Usage int64
}
