package bench

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Memory is what is in use at one time, in KiB; 0 is what cannot be seen.
type Memory struct {
	Available  int // of the machine
	Daemon     int // its PSS
	Monitors   int // processes that liblxc leaves, one for each running container; of every daemon of this machine
	MonitorKiB int // their PSS together
}

// Used reads what the machine, the daemon behind a socket and the containers' monitors use.
func Used(socket string) Memory {
	var m Memory
	m.Available = field("/proc/meminfo", "MemAvailable:")
	if pid := daemonOf(socket); pid > 0 {
		m.Daemon = pss(pid)
	}
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		if data, err := os.ReadFile(name); err != nil || !bytes.HasPrefix(data, []byte("[lxc monitor]")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			m.Monitors++
			m.MonitorKiB += pss(pid)
		}
	}
	return m
}

func pss(pid int) int { return field("/proc/"+strconv.Itoa(pid)+"/smaps_rollup", "Pss:") }

// field reads one line of a file of /proc, "Name:   123 kB".
func field(path, name string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return n
		}
	}
	return 0
}

// daemonOf is the process that listens on a socket; 0 if it cannot be told.
func daemonOf(socket string) int {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	var cred *unix.Ucred
	if err := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || cred == nil {
		return 0
	}
	return int(cred.Pid)
}
