package apparmor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Unload takes a profile and its namespace out of the kernel. Processes under it would become unconfined, so call it when there are
// none. It is no error if the profile is not loaded. Its files stay, so that the next Load is quick.
func (h *Host) Unload(kind, id string) error {
	if h == nil || h.state != On {
		return nil
	}
	return h.unload(h.Name(kind, id))
}

func (h *Host) unload(name string) error {
	// The namespace first: profiles that the guest has loaded into it are removed with it.
	err := os.Remove(h.namespace(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if removing := writeOnce(filepath.Join(h.fs, ".remove"), []byte(name)); removing != nil && !errors.Is(removing, fs.ErrNotExist) {
		err = errors.Join(err, removing)
	}
	if err != nil {
		return fmt.Errorf("AppArmor profile %s cannot be removed: %w", name, err)
	}
	return nil
}

// Remove takes a profile out of the kernel and away from the disk. That there is none is no error.
func (h *Host) Remove(kind, id string) error {
	if h == nil {
		return nil
	}
	return errors.Join(h.Unload(kind, id), h.removeFiles(h.Name(kind, id)))
}

func (h *Host) removeFiles(name string) error {
	var errs []error
	for _, folder := range []string{"profiles", "cache"} {
		for _, suffix := range []string{"", ".new"} {
			if err := os.Remove(h.file(folder, name) + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Loaded are the names of this daemon's profiles in the kernel.
func (h *Host) Loaded() ([]string, error) {
	if h == nil || h.state != On {
		return nil, nil
	}
	raw, err := os.ReadFile(filepath.Join(h.fs, "profiles"))
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(raw)) { // "name (mode)"
		name, _, ok := strings.Cut(strings.TrimSpace(line), " (")
		if ok && strings.HasPrefix(name, h.prefix) && !strings.Contains(name, "//") {
			names = append(names, name)
		}
	}
	return names, nil
}

// Sweep removes the profiles of a kind that a daemon which was killed has left: those in the kernel whose ID does not run, and the files
// of those that are not known.
func (h *Host) Sweep(kind string, runs, known func(id string) bool) error {
	if h == nil {
		return nil
	}
	names, err := h.Loaded()
	errs := []error{err}
	for _, name := range names {
		if id, ours := strings.CutPrefix(name, h.Name(kind, "")); ours && !runs(id) {
			errs = append(errs, h.unload(name))
		}
	}
	for _, folder := range []string{"profiles", "cache"} {
		entries, err := os.ReadDir(filepath.Join(h.dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if id, ours := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".new"), h.Name(kind, "")); ours && !known(id) {
				errs = append(errs, h.removeFiles(h.Name(kind, id)))
			}
		}
	}
	return errors.Join(errs...)
}
