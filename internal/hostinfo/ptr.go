package hostinfo

import "unsafe"

// ptr is the address of a value for a system call that x/sys has no wrapper for.
func ptr[T any](v *T) unsafe.Pointer { return unsafe.Pointer(v) }
