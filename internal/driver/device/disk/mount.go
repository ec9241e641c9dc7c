package disk

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountFlags are the options that are flags of mount(2) rather than matters of a file system.
var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	"strictatime": unix.MS_STRICTATIME, "sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC,
	"lazytime": unix.MS_LAZYTIME,
}

// defaultOptions ask for what is so without them, too.
var defaultOptions = []string{"rw", "defaults", "suid", "exec", "async", "atime", "diratime", "nomand", "nolazytime", "norelatime", "nostrictatime"}

// bindOptions are the flags that a mount has for itself, whatever file system it shows; the others are the file system's.
var bindOptions = []string{"noatime", "nodev", "nodiratime", "noexec", "nosuid", "relatime", "ro", "strictatime"}

// withoutEffect is the first of raw.mount.options that a mount of what is no block device does not have; empty if there is none. That it
// may have nodes (dev) is not for a disk to say: see options.
func withoutEffect(raw string) string {
	for _, o := range strings.Split(raw, ",") {
		o = strings.TrimSpace(o)
		if o != "" && o != "bind" && !slices.Contains(bindOptions, o) && !slices.Contains(defaultOptions, o) {
			return o
		}
	}
	return ""
}

// splitOptions splits raw.mount.options into flags of mount(2) and the data that the file system reads. Options that ask for a default are dropped.
func splitOptions(raw string) (flags uintptr, data string) {
	var rest []string
	for _, o := range strings.Split(raw, ",") {
		o = strings.TrimSpace(o)
		if f, ok := mountFlags[o]; ok {
			flags |= f
		} else if o != "" && o != "dev" && !slices.Contains(defaultOptions, o) {
			rest = append(rest, o)
		}
	}
	return flags, strings.Join(rest, ",")
}

// flagsOf are the options in raw.mount.options that a bind mount can have, too.
func flagsOf(raw string) []string {
	var list []string
	for _, o := range strings.Split(raw, ",") {
		if o = strings.TrimSpace(o); slices.Contains(bindOptions, o) {
			list = append(list, o)
		}
	}
	return list
}

// mountAny mounts a block device with whichever file system of the kernel knows what is on it.
func mountAny(source, at string, flags uintptr, data string) error {
	list, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	kinds := filesystems(string(list))
	for _, kind := range kinds {
		err := unix.Mount(source, at, kind, flags, data)
		switch err {
		case nil:
			return nil
		case unix.EINVAL, unix.EUCLEAN, unix.ENODEV: // not this file system: try the next
		case unix.EACCES, unix.EROFS:
			if flags&unix.MS_RDONLY == 0 { // the device itself is read-only
				if unix.Mount(source, at, kind, flags|unix.MS_RDONLY, data) == nil {
					return nil
				}
			}
		default:
			return fmt.Errorf("mount %s: %w", source, err)
		}
	}
	return fmt.Errorf("mount %s: no file system on it, or not one of %s, or not with options %q", source, strings.Join(kinds, ", "), data)
}

// filesystems reads /proc/filesystems: those on block devices, ext4 standing for all of its family.
func filesystems(text string) []string {
	var kinds []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 1 {
			kinds = append(kinds, fields[0])
		}
	}
	if slices.Contains(kinds, "ext4") {
		kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == "ext2" || k == "ext3" })
	}
	// Those come first that are least likely to take another file system for theirs; msdos would take a vfat without its long names.
	slices.SortStableFunc(kinds, func(a, b string) int { return order(a) - order(b) })
	return kinds
}

func order(kind string) int {
	if i := slices.Index([]string{"ext4", "xfs", "btrfs", "squashfs", "iso9660", "vfat"}, kind); i >= 0 {
		return i
	}
	return 100
}
