package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// processRecord identifies the dnsmasq of a folder. It is written after that process was started and before it may go
// on, and holds only what the kernel knows of it, nothing that a process can choose, such as its name or its arguments.
type processRecord struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot: proc(5), field 22 of stat
	Boot  string `json:"boot"`  // boot ID: PID and Start mean nothing in another boot
	// Dev and Inode are the program's: what /proc/<pid>/exe leads to.
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	// Config is a digest of the configuration that the process was started with.
	Config string `json:"config"`
}

// maxRecord bounds what is read of a record, in bytes.
const maxRecord = 4 << 10

// readRecord reads the record of a folder; false if there is none, or it is damaged, as after a power cut.
func readRecord(dir string) (processRecord, bool) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil || len(data) > maxRecord {
		return processRecord{}, false
	}
	return parseRecord(data)
}

func parseRecord(data []byte) (processRecord, bool) {
	var r processRecord
	if json.Unmarshal(data, &r) != nil || r.PID <= 1 || r.Start == 0 || r.Boot == "" {
		return processRecord{}, false
	}
	return r, true
}

// write replaces the record atomically. It does not sync: a power cut ends the process too.
func (r processRecord) write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, "."+recordFile), filepath.Join(dir, recordFile), data)
}

// replaceFile writes a file under a temporary name of the same file system and then gives it its own.
func replaceFile(temp, path string, data []byte) error {
	if err := os.WriteFile(temp, data, 0o644); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temp)))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// observe asks the kernel about a process. The caller holds a pidfd of it, or is its parent, so that the PID is not reused.
func observe(pid int) (processRecord, error) {
	r := processRecord{PID: pid}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return r, err
	}
	if r.Start, err = startTime(data); err != nil {
		return r, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return r, err
	}
	r.Boot = string(bytes.TrimSpace(boot))
	r.Dev, r.Inode, err = fileOf(fmt.Sprintf("/proc/%d/exe", pid))
	return r, err
}

// identify is observe for a child that was started a moment ago. Its execve has been seen (Linux 6.1, on an emulated processor) to close
// the descriptors that do not outlive it, which is when os/exec says that the child runs, before /proc shows the new program.
// Who shows ours is about to run the one at path.
func identify(pid int, path string) (processRecord, error) {
	r, err := observe(pid)
	if err != nil {
		return r, err
	}
	own, err := observe(os.Getpid())
	if err != nil || r.Dev != own.Dev || r.Inode != own.Inode {
		return r, err
	}
	r.Dev, r.Inode, err = fileOf(path)
	return r, err
}

// fileOf is the device and the inode that a path leads to.
func fileOf(path string) (dev, inode uint64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return st.Dev, st.Ino, nil
}

// startTime reads field 22 of /proc/<pid>/stat. The second field, in brackets, is the process's own choice and may hold
// brackets and blanks itself.
func startTime(stat []byte) (uint64, error) {
	_, rest, ok := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("unexpected format of a process's state: %q", stat)
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// sameAs tells whether both are one process running one program.
func (r processRecord) sameAs(other processRecord) bool {
	other.Config = r.Config
	return r == other
}

// sharesNamespaces tells whether a process lives in the daemon's own PID and user namespaces. No process of a guest does.
func sharesNamespaces(pid int) bool {
	for _, ns := range []string{"pid", "user"} {
		mine, err := os.Stat("/proc/self/ns/" + ns)
		if err != nil {
			return false
		}
		its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		if err != nil || !os.SameFile(mine, its) {
			return false
		}
	}
	return true
}
