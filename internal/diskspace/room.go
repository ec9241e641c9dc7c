// Package diskspace limits what comes from outside (uploads, unpacked and packed images) to the space that a file system has free, less a reserve for
// whoever else writes there.
package diskspace

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/durable"
)

// Block is the smallest unit that a file system allocates, in bytes.
const Block = 4096

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Reserve is how many bytes to leave free of a file system of total bytes: a twentieth, at least 1 GiB and at most 16 GiB, but never more
// than a tenth.
func Reserve(total int64) int64 {
	return min(min(max(total/20, gib), 16*gib), total/10)
}

// Full is the error for what does not fit. It is also an ENOSPC.
type Full struct {
	Of      string // what is full: `storage pool "default"`
	What    string // "bytes" or "files"
	Needed  int64  // what was to be written next
	Free    int64
	Reserve int64 // of Free, what is kept
	Quota   int64 // if not 0, this is what was exceeded, and Of is free enough
}

// Error implements error.
func (f *Full) Error() string {
	if f.Quota > 0 {
		return fmt.Sprintf("no space left on device: it takes more than its limit of %s", size(f.Quota))
	}
	if f.What == "files" {
		return fmt.Sprintf("no space left on device: %s has room for %d more files, of which %d are kept in reserve", f.Of, f.Free, f.Reserve)
	}
	return fmt.Sprintf("no space left on device: %s has %s free, of which %s are kept in reserve, and %s more are needed", f.Of, size(f.Free), size(f.Reserve), size(f.Needed))
}

// Unwrap makes it an ENOSPC.
func (f *Full) Unwrap() error { return syscall.ENOSPC }

func size(n int64) string {
	if n >= 10*gib {
		return fmt.Sprintf("%d GiB", n/gib)
	}
	if n >= mib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Room is what may still be written below a folder. It is not safe for concurrent use; several may stand for one file system.
type Room struct {
	dir   string
	of    string
	quota int64

	taken    int64 // bytes so far
	unsynced int64 // of these, what the file system may not have counted yet
	left     int64 // bytes that may be taken before the file system is asked again
	files    int64 // and files
	stat     func(dir string, st *unix.Statfs_t) error
	sync     func(dir string) error
}

// New gives the room below dir, which errors call of. quota, if not 0, bounds what is taken from this Room, in bytes.
func New(dir, of string, quota int64) *Room {
	return &Room{dir: dir, of: of, quota: quota, stat: unix.Statfs, sync: durable.FileSystem}
}

// Taken is what has been taken, in bytes.
func (r *Room) Taken() int64 { return r.taken }

// Blocks is the space that so many bytes of a file's content take.
func Blocks(n int64) int64 { return (n + Block - 1) / Block * Block }

// Take asks to write n bytes. The error is a *Full, or says that the file system did not answer.
func (r *Room) Take(n int64) error {
	if r.quota > 0 && n > r.quota-r.taken {
		return &Full{Of: r.of, What: "bytes", Needed: n, Quota: r.quota}
	}
	if n > r.left {
		if err := r.look(n); err != nil {
			return err
		}
	}
	r.taken, r.unsynced, r.left = r.taken+n, r.unsynced+n, r.left-n
	return nil
}

// Give takes back n bytes of what was taken: they were written, and removed again. The file system is asked before they are used anew.
func (r *Room) Give(n int64) { r.taken -= min(n, r.taken) }

// TakeFile asks to make a file of any kind.
func (r *Room) TakeFile() error {
	if r.files == 0 {
		if err := r.look(0); err != nil {
			return err
		}
	}
	r.files--
	return nil
}

// Left is how many bytes may be written now: what a program is bounded to that writes by itself.
func (r *Room) Left() (int64, error) {
	if err := r.look(0); err != nil {
		return 0, err
	}
	free, reserve, _, err := r.free()
	if err != nil {
		return 0, err
	}
	left := max(free-reserve, 0)
	if r.quota > 0 {
		left = min(left, r.quota-r.taken)
	}
	return left, nil
}

// look asks the file system how much is free. Only a part of that may be taken before the next look, so that several writers at
// once do not use up the reserve together.
func (r *Room) look(n int64) error {
	free, reserve, st, err := r.free()
	if err != nil {
		return err
	}
	// btrfs counts what was written only once it is on its way to the disk.
	if r.unsynced > 0 && free-reserve < r.unsynced+n {
		if err := r.sync(r.dir); err != nil {
			return err
		}
		r.unsynced = 0
		if free, reserve, st, err = r.free(); err != nil {
			return err
		}
	}
	if n > free-reserve {
		return &Full{Of: r.of, What: "bytes", Needed: n, Free: free, Reserve: reserve}
	}
	r.left = max(n, min((free-reserve)/8, 256*mib))
	r.files = 4096
	if st.Files > 0 { // some file systems make inodes as they are needed
		kept := int64(min(st.Files/100, 1<<16))
		if int64(st.Ffree) <= kept {
			return &Full{Of: r.of, What: "files", Free: int64(st.Ffree), Reserve: kept}
		}
		r.files = max(min(r.files, (int64(st.Ffree)-kept)/8), 1)
	}
	return nil
}

func (r *Room) free() (free, reserve int64, st unix.Statfs_t, err error) {
	if err := r.stat(r.dir, &st); err != nil {
		return 0, 0, st, fmt.Errorf("free space of %s: %w", r.of, err)
	}
	unit := st.Frsize
	if unit == 0 {
		unit = st.Bsize
	}
	return int64(st.Bavail) * unit, Reserve(int64(st.Blocks) * unit), st, nil
}
