package subvolume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests, structures and numbers are those of linux/btrfs.h and linux/btrfs_tree.h.
const (
	destroySubvolume   = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	searchTree         = 0xd0009411 // BTRFS_IOC_TREE_SEARCH
	lookUpInode        = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	createSnapshot     = 0x50009417 // BTRFS_IOC_SNAP_CREATE_V2
	createSubvolume    = 0x50009418 // BTRFS_IOC_SUBVOL_CREATE_V2
	getFlags           = 0x80089419 // BTRFS_IOC_SUBVOL_GETFLAGS
	setFlags           = 0x4008941a // BTRFS_IOC_SUBVOL_SETFLAGS
	systemInfo         = 0x8400941f // BTRFS_IOC_FS_INFO
	limitQuota         = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT
	destroySubvolumeV2 = 0x5000943f // BTRFS_IOC_SNAP_DESTROY_V2, since Linux 5.7

	limitReferenced = 1 << 0     // BTRFS_QGROUP_LIMIT_MAX_RFER
	noLimit         = ^uint64(0) // BTRFS_QGROUP_CLEAR_VALUE

	readOnly = 1 << 1 // BTRFS_SUBVOL_RDONLY
	byNumber = 1 << 4 // BTRFS_SUBVOL_SPEC_BY_ID
	rootTree = 1      // BTRFS_ROOT_TREE_OBJECTID
	rootRef  = 156    // BTRFS_ROOT_REF_KEY: objectid holds the subvolume offset
)

// TopInode is the number of the inode at the top of every subvolume (BTRFS_FIRST_FREE_OBJECTID).
const TopInode = 256

// removal is btrfs_ioctl_vol_args.
type removal struct {
	_    int64
	name [4088]byte
}

func (a *removal) setName(name string) error { return setName(a.name[:], name) }

// creation is btrfs_ioctl_vol_args_v2.
type creation struct {
	fd    int64
	_     uint64
	flags uint64
	_     [4]uint64
	name  [4040]byte // or a number
}

func (a *creation) setName(name string) error { return setName(a.name[:], name) }
func (a *creation) setNumber(id uint64)       { binary.NativeEndian.PutUint64(a.name[:], id) }

// lookup is btrfs_ioctl_ino_lookup_args; with tree 0 the kernel answers which the open file is in.
type lookup struct {
	tree   uint64
	object uint64
	_      [4080]byte
}

// search is btrfs_ioctl_search_args.
type search struct {
	tree                 uint64
	minObject, maxObject uint64
	minOffset, maxOffset uint64
	_, maxTransid        uint64
	minType, maxType     uint32
	items, _             uint32
	_                    [4]uint64
	found                [3992]byte
}

// foundHeader is the size of btrfs_ioctl_search_header: transid, objectid, offset; then type and length, 32 bits each.
const foundHeader = 32

// system is btrfs_ioctl_fs_info_args.
type system struct {
	_, _ uint64 // max_id, num_devices
	id   [16]byte
	_    [992]byte
}

// quota is btrfs_ioctl_qgroup_limit_args; with group 0 it is that of the subvolume that the open file is in.
type quota struct {
	_             uint64 // group
	flags         uint64
	referenced, _ uint64 // exclusive
	_, _          uint64 // reserved
}

func setName(to []byte, name string) error {
	if name == "" || name == "." || name == ".." || len(name) > unix.NAME_MAX || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("subvolume name %q: %w", name, os.ErrInvalid)
	}
	copy(to, name)
	return nil
}

// children lists the numbers of the subvolumes directly within one.
func children(on *os.File, id uint64) ([]uint64, error) {
	var list []uint64
	for from := uint64(0); ; {
		args := search{
			tree: rootTree, minObject: id, maxObject: id, minOffset: from, maxOffset: ^uint64(0),
			maxTransid: ^uint64(0), minType: rootRef, maxType: rootRef, items: 4096,
		}
		err := call(on, searchTree, &args)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
		if err != nil {
			return nil, fmt.Errorf("look for subvolumes: %w", err)
		}
		part := parseFound(args.found[:], args.items)
		if len(part) == 0 {
			return list, nil
		}
		list = append(list, part...)
		from = part[len(part)-1] + 1
	}
}

// parseFound reads the offsets of the items of a search.
func parseFound(data []byte, items uint32) []uint64 {
	var list []uint64
	for ; items > 0 && len(data) >= foundHeader; items-- {
		list = append(list, binary.NativeEndian.Uint64(data[16:]))
		size := foundHeader + uint64(binary.NativeEndian.Uint32(data[28:]))
		if size > uint64(len(data)) {
			break
		}
		data = data[size:]
	}
	return list
}

// descriptor is an open file that is somebody else's to close.
type descriptor uintptr

func (d descriptor) Fd() uintptr { return uintptr(d) }

func call[T any](on interface{ Fd() uintptr }, request uintptr, args *T) error {
	defer runtime.KeepAlive(on)
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, on.Fd(), request, uintptr(unsafe.Pointer(args)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
