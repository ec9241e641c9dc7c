package treecopy

import (
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// smallFile is the size up to which one read and one write beat the in-kernel copy.
const smallFile = 64 << 10

var dataBuffers = sync.Pool{New: func() any { b := make([]byte, smallFile); return &b }}

// regular copies one regular file, and every further name of it as a hard link.
func (c *copier) regular(from, to int, rel *Path, name string) error {
	// O_NONBLOCK: the entry may have become a pipe since the folder was read.
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	source, err := retry(func() (int, error) { return unix.Openat(from, name, flags|unix.O_NOATIME, 0) })
	if err == unix.EPERM {
		source, err = retry(func() (int, error) { return unix.Openat(from, name, flags, 0) })
	}
	if err != nil {
		return gone(err)
	}
	defer unix.Close(source)
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errGone
	}
	return c.linked(&st, to, rel, name, func() error { return c.content(source, to, rel, name, &st) })
}

func (c *copier) content(source, to int, rel *Path, name string, st *unix.Stat_t) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	mode := st.Mode & 0o777
	target, err := retry(func() (int, error) { return unix.Openat(to, name, flags, mode) })
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if st.Size > 0 {
		if err := c.data(target, source, st); err != nil {
			return err
		}
	}
	return c.attributes(target, source, rel, name, st)
}

// data copies the content of a file of which st tells the size: shared if that can be, else with its holes.
func (c *copier) data(target, source int, st *unix.Stat_t) error {
	if !c.noReflink.Load() {
		switch err := unix.IoctlFileClone(target, source); err {
		case nil:
			return nil
		case unix.EOPNOTSUPP, unix.EXDEV, unix.ENOTTY, unix.ENOSYS:
			c.noReflink.Store(true) // true of the file system, not of the file
		case unix.EINVAL, unix.EPERM, unix.ETXTBSY:
		default:
			return err
		}
	}
	if st.Blocks*512 < st.Size {
		return c.sparse(target, source, st.Size)
	}
	_, err := c.copyRange(target, source, 0, st.Size)
	return err
}

// sparse copies only what holds data and leaves the rest as holes.
func (c *copier) sparse(target, source int, size int64) error {
	for at := int64(0); at < size; {
		start, err := unix.Seek(source, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break // only a hole is left
		}
		if err != nil {
			_, err = c.copyRange(target, source, at, size-at) // the file system does not know of holes
			return err
		}
		end, err := unix.Seek(source, start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		end = min(end, size)
		if start >= end {
			break
		}
		n, err := c.copyRange(target, source, start, end-start)
		if err != nil {
			return err
		}
		if n < end-start {
			return nil // the source was cut short meanwhile
		}
		at = end
	}
	return unix.Ftruncate(target, size)
}

// copyRange copies length bytes at offset; fewer if the source ends before.
func (c *copier) copyRange(target, source int, offset, length int64) (int64, error) {
	step := int64(16 << 20) // how far a copy goes on after its context has ended
	bound := pace(c.ctx)
	if bound != nil {
		step = burst
	}
	if length <= smallFile {
		if err := wait(c.ctx, bound, length); err != nil {
			return 0, err
		}
		return copyByHand(target, source, offset, length)
	}
	in, out := offset, offset
	for left := length; left > 0; {
		if err := wait(c.ctx, bound, min(left, step)); err != nil {
			return in - offset, err
		}
		n, err := retry(func() (int, error) {
			return unix.CopyFileRange(source, &in, target, &out, int(min(left, step)), 0)
		})
		switch err {
		case nil:
		case unix.EXDEV, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOSYS, unix.EPERM:
			done, err := c.byHand(target, source, in, left, step, bound)
			return in - offset + done, err
		default:
			return in - offset, err
		}
		if n == 0 {
			break
		}
		left -= int64(n)
	}
	return in - offset, nil
}

// byHand is copyByHand in steps, the first of which has been waited for.
func (c *copier) byHand(target, source int, offset, length, step int64, bound *rate.Limiter) (int64, error) {
	var done int64
	for done < length {
		if done > 0 {
			if err := wait(c.ctx, bound, min(length-done, step)); err != nil {
				return done, err
			}
		}
		want := min(length-done, step)
		n, err := copyByHand(target, source, offset+done, want)
		done += n
		if err != nil || n < want {
			return done, err
		}
	}
	return done, nil
}

func copyByHand(target, source int, offset, length int64) (int64, error) {
	buf := dataBuffers.Get().(*[]byte)
	defer dataBuffers.Put(buf)
	var done int64
	for done < length {
		n, err := retry(func() (int, error) {
			return unix.Pread(source, (*buf)[:min(int64(len(*buf)), length-done)], offset+done)
		})
		if err != nil {
			return done, fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			break
		}
		for w := 0; w < n; {
			m, err := retry(func() (int, error) { return unix.Pwrite(target, (*buf)[w:n], offset+done+int64(w)) })
			if err != nil {
				return done, fmt.Errorf("write: %w", err)
			}
			if m == 0 {
				return done, io.ErrShortWrite
			}
			w += m
		}
		done += int64(n)
	}
	return done, nil
}
