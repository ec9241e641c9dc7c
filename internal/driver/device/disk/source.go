package disk

import (
	"context"
	"errors"
	"os"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/securefs"
)

// Projects is what disks need of projects; *project.Service implements it.
type Projects interface {
	// HostFolders lists the folders of the host beneath which a project's disks have to be; confined is false where they may be anywhere.
	HostFolders(project string) (folders []string, confined bool)
}

// confined tells whether the disks of a project have to be beneath certain folders of the host.
func (m *Module) confined(project string) bool {
	if m.Projects == nil {
		return false
	}
	_, confined := m.Projects.HostFolders(project)
	return confined
}

// open opens a source of the host beneath the folders that its project is held to, without reading it; nil where it is held to none. What
// is not beneath them, or is where a link leads out of them, is api.Forbidden.
func (m *Module) open(project, source string) (*os.File, error) {
	if m.Projects == nil {
		return nil, nil
	}
	folders, confined := m.Projects.HostFolders(project)
	if !confined {
		return nil, nil
	}
	folder, rest, ok := securefs.Beneath(folders, source)
	if !ok {
		return nil, api.Forbidden("Disk source path %q not allowed", source)
	}
	f, err := securefs.OpenBeneath(folder, rest)
	if errors.Is(err, securefs.ErrOutside) {
		return nil, api.Forbidden("Source path %q resolves outside of restricted parent source path %q", source, folder)
	}
	return f, err
}

// mayBeFolder tells whether a source is, or may come to be, a folder.
func (m *Module) mayBeFolder(ctx context.Context, project, source string) bool {
	st, err := m.stat(ctx, project, source)
	return err != nil || st.IsDir()
}

// isBlock tells a block device.
func isBlock(st os.FileInfo) bool {
	return st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0
}
