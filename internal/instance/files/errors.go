package files

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/pkg/sftp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/securefs"
)

// survive makes an error of a panic. The library calls from goroutines of its own, where a panic would end the daemon.
func survive(err *error) {
	if p := recover(); p != nil {
		slog.Error("An SFTP request crashed", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = errors.New("internal error")
	}
}

// told is an error as the library understands it, which knows the kernel's only in an fs.PathError.
func told(err error) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	switch {
	case errors.Is(err, securefs.ErrKernel):
		return fmt.Errorf("%w: %w", securefs.ErrKernel, sftp.ErrSSHFxPermissionDenied)
	case errors.As(err, &errno):
		return &fs.PathError{Op: "sftp", Path: strings.ToValidUTF8(pathIn(err), "?"), Err: errno}
	}
	return err
}

func pathIn(err error) string {
	var in *fs.PathError
	if errors.As(err, &in) {
		return in.Path
	}
	return ""
}

// status gives errors of the file system the status of what they mean to the caller.
func status(err error) error {
	for errno, as := range map[syscall.Errno]func(string, ...any) error{
		syscall.EEXIST: api.Conflict, syscall.EISDIR: api.BadRequest, syscall.EBUSY: api.BadRequest, syscall.ENOTEMPTY: api.BadRequest,
		syscall.EINVAL: api.BadRequest, syscall.ELOOP: api.BadRequest, syscall.ENAMETOOLONG: api.BadRequest,
		syscall.ENOTDIR: api.BadRequest, syscall.ENXIO: api.BadRequest, syscall.EROFS: api.BadRequest, syscall.EPERM: api.Forbidden, syscall.EACCES: api.Forbidden,
	} {
		if errors.Is(err, errno) {
			return as("%w", err)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.NotFound("Not Found")
	case errors.Is(err, securefs.ErrNotRegular):
		return api.BadRequest("%w", err)
	case errors.Is(err, securefs.ErrKernel):
		return api.Forbidden("%w", err)
	default:
		return err
	}
}
