//go:build unix

package cli

import (
	"io/fs"
	"syscall"
)

// ownerOf is the owner of a local file.
func ownerOf(info fs.FileInfo) (uid, gid int64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Uid), int64(st.Gid)
	}
	return -1, -1
}
