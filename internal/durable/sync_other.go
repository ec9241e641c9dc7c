//go:build !linux

package durable

import "os"

// busy does nothing: Sweep is the daemon's, which runs on Linux.
func busy(*os.File) {}

func removeIdle(path string) error { return ignoreGone(os.Remove(path)) }
