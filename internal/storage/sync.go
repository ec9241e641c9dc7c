package storage

import "github.com/berthd/berth/internal/durable"

// syncContent has the file system of a volume's folder write what it holds to the disk. It is for content that will be relied upon for
// longer than what it was made from: an image's prepared copy, of which instances are made from then on, and what is moved, whose
// source is removed next. New instances, as any files, may be lost with the power until the kernel has written them.
func syncContent(dir string) error { return durable.FileSystem(dir) }
