package hostile

import (
	"fmt"
	"os"
	"strconv"
	"strings"
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

// catch looks for processes that are not the guest's own yet and takes hold of what it can: their memory, program and descriptors.
func catch(limit time.Duration) {
	known, caught := map[string]bool{}, map[string]string{}
	for end := time.Now().Add(limit); time.Now().Before(end); {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || known[e.Name()] {
				continue
			}
			if raw, err := os.ReadFile("/proc/" + e.Name() + "/comm"); err != nil || string(raw) != "berth-lxc\n" {
				continue // the guest's own, or gone
			}
			grab(pid, caught)
		}
	}
	for what, outcome := range caught {
		fmt.Printf("%s\t%s\n", what, outcome)
	}
	fmt.Printf("end\tabsent\n")
}

func grab(pid int, caught map[string]string) {
	at := "/proc/" + strconv.Itoa(pid)
	// Only what came of it while the process was still the helper counts.
	still := func() bool {
		raw, err := os.ReadFile(at + "/comm")
		return err == nil && string(raw) == "berth-lxc\n"
	}
	note := func(what string, err error) {
		if err == nil && still() {
			caught[what] = "succeeded"
		} else if err != nil && err != unix.ENOENT && err != unix.ESRCH && caught[what] == "" {
			caught[what] = strings.TrimPrefix(unix.ErrnoName(err.(unix.Errno)), "0") //nolint:forcetypeassert,errorlint // of a system call
		}
	}
	for what, flags := range map[string]int{"exe": unix.O_WRONLY, "mem": unix.O_RDWR, "root": unix.O_PATH, "environ": unix.O_RDONLY} {
		fd, err := unix.Open(at+"/"+what, flags, 0)
		note("open /proc/PID/"+what+" of the helper", err)
		if err == nil {
			_ = unix.Close(fd)
		}
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, 0x4206 /* PTRACE_SEIZE */, uintptr(pid), 0, 0, 0, 0)
	note("trace the helper", failed(errno))
	if errno == 0 {
		_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, 0, 0, 0)
	}
}
