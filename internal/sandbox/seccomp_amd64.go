package sandbox

import "golang.org/x/sys/unix"

// denyHere are the older ways to a new process.
var denyHere = []uint32{unix.SYS_FORK, unix.SYS_VFORK}
