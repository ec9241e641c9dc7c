// Package resources reads what hardware the machine has, from /sys and /proc.
package resources

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// reader reads below the given roots, which tests put elsewhere.
type reader struct{ sys, proc string }

// Read looks at the machine. What cannot be read is left empty: hardware is odd, and the rest is still worth showing.
func Read() (*api.Resources, error) {
	r := reader{sys: "/sys", proc: "/proc"}
	memory, err := r.memory()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	return &api.Resources{
		CPU: r.cpu(), Memory: memory, GPU: r.gpu(), Network: r.network(), Storage: r.storage(),
		USB: r.usb(), PCI: r.pci(), System: r.system(),
	}, nil
}

// maxFile bounds what is read of one file of /sys or /proc.
const maxFile = 1 << 20

// text is the content of a small file without the space around it; "" if it cannot be read.
func text(elements ...string) string {
	f, err := os.Open(filepath.Join(elements...))
	if err != nil {
		return ""
	}
	defer f.Close()
	buf := make([]byte, 4096)
	n, _ := f.Read(buf)
	return strings.TrimSpace(string(buf[:n]))
}

// number is a file's number, in any base that C knows; 0 if there is none or it is negative.
func number(elements ...string) uint64 {
	n, err := strconv.ParseUint(text(elements...), 0, 64)
	if err != nil {
		return 0
	}
	return n
}

// hex is a file's number in base 16.
func hex(elements ...string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(text(elements...), "0x"), 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// names lists a folder; nothing if it cannot be read.
func names(elements ...string) []string {
	entries, err := os.ReadDir(filepath.Join(elements...))
	if err != nil {
		return nil
	}
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// linked is the last element of where a link leads; "" if it is none.
func linked(elements ...string) string {
	target, err := os.Readlink(filepath.Join(elements...))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

func exists(elements ...string) bool {
	_, err := os.Stat(filepath.Join(elements...))
	return err == nil
}

// driver is the name and version of a device's driver; one that is part of the kernel has the kernel's.
func (r reader) driver(device string) (name, version string) {
	name = linked(device, "driver")
	if name == "" {
		return "", ""
	}
	if version = text(r.sys, "module", name, "version"); version == "" {
		var u unix.Utsname
		if unix.Uname(&u) == nil {
			version = unix.ByteSliceToString(u.Release[:])
		}
	}
	return name, version
}

// bus finds the PCI and USB addresses of a device by walking up from it.
func bus(device string) (pci, usb string) {
	path, err := filepath.EvalSymlinks(device)
	if err != nil {
		return "", ""
	}
	for ; len(path) > 1; path = filepath.Dir(path) {
		switch linked(path, "subsystem") {
		case "usb":
			if usb == "" && exists(path, "busnum") {
				usb = fmt.Sprintf("%d:%d", number(path, "busnum"), number(path, "devnum"))
			}
		case "pci":
			return filepath.Base(path), usb
		}
	}
	return "", usb
}
