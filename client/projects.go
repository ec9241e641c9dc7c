package client

import (
	"net/http"

	"github.com/berthd/berth/api"
)

// Projects lists the projects.
func (c *Client) Projects() ([]api.Project, error) {
	return list[api.Project](c, pathOf("projects")+"?recursion=1")
}

// ProjectByName fetches one project.
func (c *Client) ProjectByName(name string) (*api.Project, string, error) {
	return get[api.Project](c, pathOf("projects", name))
}

// ProjectState fetches what a project uses.
func (c *Client) ProjectState(name string) (*api.ProjectState, error) {
	state, _, err := get[api.ProjectState](c, pathOf("projects", name, "state"))
	return state, err
}

// CreateProject makes a project.
func (c *Client) CreateProject(post api.ProjectsPost) error {
	return c.send(http.MethodPost, pathOf("projects"), post, "")
}

// UpdateProject replaces a project's configuration.
func (c *Client) UpdateProject(name string, put api.ProjectPut, etag string) error {
	return c.send(http.MethodPut, pathOf("projects", name), put, etag)
}

// RenameProject renames a project.
func (c *Client) RenameProject(name string, post api.ProjectPost) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("projects", name), post, "")
}

// DeleteProject deletes an empty project.
func (c *Client) DeleteProject(name string) error {
	return c.send(http.MethodDelete, pathOf("projects", name), nil, "")
}

// Profiles lists the profiles.
func (c *Client) Profiles() ([]api.Profile, error) {
	return list[api.Profile](c, pathOf("profiles")+"?recursion=1")
}

// Profile fetches one profile.
func (c *Client) Profile(name string) (*api.Profile, string, error) {
	return get[api.Profile](c, pathOf("profiles", name))
}

// CreateProfile makes a profile.
func (c *Client) CreateProfile(post api.ProfilesPost) error {
	return c.send(http.MethodPost, pathOf("profiles"), post, "")
}

// UpdateProfile replaces a profile's configuration.
func (c *Client) UpdateProfile(name string, put api.ProfilePut, etag string) error {
	return c.send(http.MethodPut, pathOf("profiles", name), put, etag)
}

// RenameProfile renames a profile.
func (c *Client) RenameProfile(name string, post api.ProfilePost) error {
	return c.send(http.MethodPost, pathOf("profiles", name), post, "")
}

// DeleteProfile deletes a profile that nothing uses.
func (c *Client) DeleteProfile(name string) error {
	return c.send(http.MethodDelete, pathOf("profiles", name), nil, "")
}
