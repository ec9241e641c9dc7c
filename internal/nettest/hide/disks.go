package hide

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// DiskPlaces are the ways to keep a mount from whoever takes it out of the present mount namespace, by name. True: where there is no list of mount
// namespaces, nobody can look there, but that something may be there can be told.
var DiskPlaces = map[string]bool{
	"thread": false, "moved": false, "root": false, "descriptor": false, "mount": false, "descriptor on its way": true,
}

// Disk keeps a folder in which something is mounted, in one of DiskPlaces, for as long as the program runs. There tells whether a file of it can be
// got at.
func Disk(place, path, file string) (there func() (bool, error), err error) {
	hidden, ask, answer := make(chan error), make(chan bool), make(chan error)
	go func() {
		runtime.LockOSThread()
		before, failed := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if failed != nil {
			hidden <- failed
			return
		}
		back, err := hideDisk(place, path)
		for cpu := 0; place == "mount" && errors.Is(err, unix.EINVAL) && cpu < runtime.NumCPU(); cpu++ {
			// A namespace can be mounted only in one that has a lower number, and each processor has numbers of its own (Linux 6.18).
			var one unix.CPUSet
			one.Set(cpu)
			if unix.SchedSetaffinity(0, &one) == nil {
				back, err = hideDisk(place, path)
			}
		}
		hidden <- err
		for range ask {
			err := back()
			if err == nil {
				at := path
				switch place {
				case "root":
					at = "/"
				case "moved":
					at = elsewhere(path)
				}
				_, err = os.Stat(filepath.Join(at, file))
			}
			if place == "mount" || place == "descriptor" { // or the thread would be the place from now on
				if left := unix.Setns(before, unix.CLONE_NEWNS); left != nil {
					err = left
				}
			}
			answer <- err
		}
	}()
	there = func() (bool, error) {
		ask <- true
		err := <-answer
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	return there, <-hidden
}

func elsewhere(path string) string { return path + "-elsewhere" }

// hideDisk has the thread make a mount namespace that nothing is taken out of by what goes in the present one, and leave it again for most places; back
// leads there once more.
func hideDisk(place, path string) (back func() error, err error) {
	const self = "/proc/thread-self/ns/mnt"
	before, err := unix.Open(self, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil { // and of CLONE_FS
		return nil, fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	stay := func() error { return nil }
	switch place {
	case "thread":
		return stay, nil
	case "moved":
		return stay, errors.Join(os.Mkdir(elsewhere(path), 0o700), unix.Mount(path, elsewhere(path), "", unix.MS_MOVE, ""))
	case "root":
		return stay, errors.Join(unix.Chdir(path), unix.PivotRoot(".", "."), unix.Unmount(".", unix.MNT_DETACH), unix.Chdir("/"))
	}
	ns, err := unix.Open(self, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Setns(before, unix.CLONE_NEWNS); err != nil {
		return nil, err
	}
	enter := func() error { return unix.Setns(ns, unix.CLONE_NEWNS) }
	switch place {
	case "mount":
		return bound(ns)
	case "descriptor on its way":
		return sent(ns)
	}
	return enter, unix.Close(before)
}

// bound keeps a mount namespace by a mount of its file.
func bound(ns int) (back func() error, err error) {
	dir, err := os.MkdirTemp("", "hidden-")
	if err != nil {
		return nil, err
	}
	at := filepath.Join(dir, "ns")
	if err := unix.Mount("hidden", dir, "tmpfs", 0, ""); err != nil {
		return nil, err
	}
	if err := errors.Join(unix.Mount("", dir, "", unix.MS_PRIVATE, ""), os.WriteFile(at, nil, 0o600)); err != nil {
		return nil, err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns), at, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	return func() error {
		again, err := unix.Open(at, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return errors.Join(unix.Setns(again, unix.CLONE_NEWNS), unix.Close(again))
	}, unix.Close(ns)
}

// sent keeps a mount namespace by a descriptor that nobody has received yet.
func sent(ns int) (back func() error, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return func() error {
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(pair[1], []byte{0}, oob, 0)
		if err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(messages) != 1 {
			return errors.Join(err, errors.New("no descriptor came"))
		}
		got, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			return err
		}
		return unix.Setns(got[0], unix.CLONE_NEWNS)
	}, errors.Join(unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(ns), nil, 0), unix.Close(ns))
}

// AnswerDisk hides a disk and says so on standard output. Then it says whether it is there, each time that something is read from the pipe "ask", in the
// pipe "answer", of a folder.
func AnswerDisk(place, path, file, pipes string) {
	ask, answer := filepath.Join(pipes, "ask"), filepath.Join(pipes, "answer")
	there, err := Disk(place, path, file)
	fmt.Println("hide:", errors.Join(err, unix.Mkfifo(ask, 0o600), unix.Mkfifo(answer, 0o600)))
	for err == nil {
		if _, err = os.ReadFile(ask); err != nil {
			break
		}
		is, failed := there()
		err = os.WriteFile(answer, fmt.Appendf(nil, "%t %v\n", is, failed), 0)
	}
	fmt.Println("answer:", err)
}
