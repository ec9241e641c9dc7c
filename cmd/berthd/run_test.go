package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestDescriptorsAreKeptFromPrograms(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(ends[0]), unix.Close(ends[1]) }()
	if err := keepDescriptors(); err != nil {
		t.Fatal(err)
	}
	for _, fd := range ends {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %d, %v", flags, err)
		}
	}
	if flags, err := unix.FcntlInt(2, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
		t.Errorf("standard error: flags %d, %v", flags, err)
	}
}
