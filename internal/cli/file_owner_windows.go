package cli

import "io/fs"

// ownerOf is the owner of a local file: Windows has none that an instance would know.
func ownerOf(fs.FileInfo) (uid, gid int64) { return -1, -1 }
