package durable

import "os"

// Dir has the disk hold a folder's entries. Windows has no call for that: what is renamed there is kept by the file system's own journal.
func Dir(string) error { return nil }

// busy does nothing: what is open cannot be removed on Windows.
func busy(*os.File) {}

func removeIdle(path string) error { return ignoreGone(os.Remove(path)) }
