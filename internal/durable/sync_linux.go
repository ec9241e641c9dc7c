package durable

import "golang.org/x/sys/unix"

// FileSystem has the disk hold all that was written to the file system that a folder is on.
func FileSystem(dir string) error { return synced(dir, unix.Syncfs) }
