package project

import "context"

// Single answers where there is the default project alone: for a service that is put together without this one.
type Single struct{}

// Effective is the project itself.
func (Single) Effective(_ Kind, name string) string { return name }

// Sharing is the project itself.
func (Single) Sharing(_ Kind, name string) []string { return []string{name} }

// Still finds each project.
func (Single) Still(context.Context, string) error { return nil }

// Check finds each project.
func (Single) Check(string) error { return nil }

// Allows allows everything.
func (Single) Allows(string, ...Need) error { return nil }

// Permits permits everything.
func (Single) Permits(string, string, func() ([]Need, error)) error { return nil }

// Admit admits everything.
func (Single) Admit(context.Context, string, string, Contents) (func(), error) {
	return func() {}, nil
}

// Reserve counts nothing.
func (Single) Reserve(_, _ string) *Reservation { return &Reservation{} }

// Hold holds nothing.
func (Single) Hold(ctx context.Context, _, _ string) (context.Context, func(), error) {
	return ctx, func() {}, nil
}
