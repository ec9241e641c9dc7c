package instance

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/berthd/berth/api"
)

// shownLog tells whether clients may read a log: nothing else in the folder is for them. What the console has shown
// has a place of its own in the API.
func shownLog(name string) bool {
	return name == "lxc.log" || name == "lxc.conf" || recordedOutput(name)
}

func recordedOutput(name string) bool {
	return strings.HasPrefix(name, "exec_") && !strings.ContainsAny(name, "/\x00")
}

func (s *Service) openLogs(project, name string) (*os.Root, error) {
	if _, err := s.get(project, name); err != nil {
		return nil, err
	}
	return os.OpenRoot(s.logPath(id(project, name)))
}

// Logs lists the logs of an instance.
func (s *Service) Logs(_ context.Context, project, name string) ([]string, error) {
	root, err := s.openLogs(project, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if shownLog(e.Name()) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// OpenLog opens a log for reading; the caller closes it.
func (s *Service) OpenLog(ctx context.Context, project, name, file string) (*os.File, error) {
	if !shownLog(file) {
		return nil, api.BadRequest("log file name %s not valid", file)
	}
	root, err := s.openLogs(project, name)
	if err == nil {
		defer root.Close()
		var f *os.File
		if f, err = root.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0); err == nil {
			s.publish(ctx, project, "instance-log-retrieved", url(project, name), map[string]any{"file": file})
			return f, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.NotFound("Log file %q not found", file)
	}
	return nil, err
}

// DeleteLog removes the record of an exec; the other logs are the runtime's.
func (s *Service) DeleteLog(ctx context.Context, project, name, file string) error {
	if !shownLog(file) {
		return api.BadRequest("log file name %s not valid", file)
	}
	if !recordedOutput(file) {
		return api.BadRequest("lxc.log and lxc.conf may not be deleted")
	}
	root, err := s.openLogs(project, name)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(file); errors.Is(err, fs.ErrNotExist) {
		return api.NotFound("Log file %q not found", file)
	} else if err != nil {
		return err
	}
	s.publish(ctx, project, "instance-log-deleted", url(project, name), map[string]any{"file": file})
	return nil
}
