package hostile

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// script is a program of the guest's whose interpreter is whoever runs it: the helper, on its way in, runs itself, and the guest's
// dynamic linker with it (CVE-2019-5736).
const script = "/script"

// interpreted is what asInterpreter leaves for the test.
const interpreted = "/tmp/interpreted"

func init() {
	attacks["catch"] = func(args []string) {
		seconds, _ := strconv.Atoi(args[0])
		catch(time.Duration(seconds) * time.Second)
	}
	attacks["hold"] = func(args []string) {
		seconds, _ := strconv.Atoi(args[1])
		hold(args[0], time.Duration(seconds)*time.Second)
	}
}

// asInterpreter runs in the place of the dynamic linker of a program of the host, and tries to write to that.
func asInterpreter() {
	out, err := os.Create(interpreted)
	if err != nil {
		return
	}
	defer out.Close()
	link, _ := os.Readlink("/proc/self/exe")
	fmt.Fprintln(out, link)
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0)
	if err != nil {
		fmt.Fprintln(out, "unreadable", err)
		return
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	fmt.Fprintln(out, seals, err)
}

// catch looks for processes of the helper and takes hold of what it can: their memory, program and descriptors.
func catch(limit time.Duration) {
	caught := map[string]string{}
	for end := time.Now().Add(limit); time.Now().Before(end); {
		for _, pid := range helpers() {
			grab(pid, caught)
		}
	}
	print(caught)
}

// hold is catch with all the time in the world: whoever executes a program from a file system that never answers stays what it is.
func hold(dir string, limit time.Duration) {
	_ = os.Mkdir(dir, 0o755)
	fuse, err := silentFileSystem(dir)
	if err != nil {
		step("mount a file system of one's own", err)
		return
	}
	defer unix.Close(fuse) // and whoever waits for an answer goes on
	caught, seen := map[string]string{}, map[int]time.Time{}
	const held = time.Second // longer than any process of the helper takes on its way in
	for end := time.Now().Add(limit); time.Now().Before(end); {
		for _, pid := range helpers() {
			if seen[pid].IsZero() {
				seen[pid] = time.Now()
			} else if time.Since(seen[pid]) > held {
				grab(pid, caught)
				print(caught)
				return
			}
		}
	}
	fmt.Println("no process of the helper was held")
}

func print(caught map[string]string) {
	for what, outcome := range caught {
		fmt.Printf("%s\t%s\n", what, outcome)
	}
	fmt.Printf("end\tabsent\n")
}

// helpers are the processes that are not the guest's own yet.
func helpers() []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isHelper(pid) {
			found = append(found, pid)
		}
	}
	return found
}

func isHelper(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	return err == nil && string(raw) == "berth-lxc\n"
}

// silentFileSystem mounts a FUSE that is set up and answers nothing more (linux/fuse.h).
func silentFileSystem(dir string) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Mount("none", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		return -1, err
	}
	request := make([]byte, 1<<16)
	if _, err := unix.Read(fd, request); err != nil { // FUSE_INIT
		return -1, err
	}
	answer := binary.NativeEndian.AppendUint32(nil, 16+64)
	answer = binary.NativeEndian.AppendUint32(answer, 0)
	answer = append(answer, request[8:16]...) // what it is the answer to
	answer = binary.NativeEndian.AppendUint32(answer, 7)
	answer = binary.NativeEndian.AppendUint32(answer, 31)
	_, err = unix.Write(fd, append(answer, make([]byte, 64-8)...))
	return fd, err
}

func grab(pid int, caught map[string]string) {
	at := "/proc/" + strconv.Itoa(pid)
	// Only what came of it while the process was still the helper counts.
	note := func(what string, err error) {
		switch {
		case !isHelper(pid) || caught[what] == "succeeded":
		case err == nil:
			caught[what] = "succeeded"
		default:
			caught[what] = unix.ErrnoName(err.(unix.Errno)) // of a system call
		}
	}
	for what, flags := range map[string]int{"exe": unix.O_WRONLY, "mem": unix.O_RDWR, "root": unix.O_PATH, "environ": unix.O_RDONLY} {
		fd, err := unix.Open(at+"/"+what, flags, 0)
		note("open /proc/PID/"+what+" of the helper", err)
		if err == nil {
			_ = unix.Close(fd)
		}
	}
	note("trace the helper", soon(func() error { return trace(pid) }))
}

// soon is what came of a call, or EAGAIN where it waits: before Linux 6.8 nobody is traced while their execve looks for the program.
func soon(call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Second):
		return unix.EAGAIN
	}
}

func trace(pid int) error {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, 0x4206 /* PTRACE_SEIZE */, uintptr(pid), 0, 0, 0, 0)
	if errno == 0 {
		_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, 0, 0, 0)
	}
	return failed(errno)
}
