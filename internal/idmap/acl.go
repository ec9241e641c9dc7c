package idmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
)

// POSIX ACLs as extended attributes (linux/posix_acl_xattr.h): a version, then entries of tag, permissions and ID, all little-endian. Only
// entries of named users and groups have an ID.
const (
	aclVersion = 2
	aclHeader  = 4
	aclEntry   = 8
	aclMax     = 1 << 16 // the kernel's bound of any attribute
	aclUser    = 0x02
	aclOwning  = 0x04 // the owning group
	aclGroup   = 0x08

	aclAccess = "system.posix_acl_access"
)

// aclNames are the attributes: who may reach a file, and what is handed down to new files in a folder.
var aclNames = []string{aclAccess, "system.posix_acl_default"}

// IsACL tells whether an extended attribute is a POSIX ACL.
func IsACL(name string) bool { return slices.Contains(aclNames, name) }

// ModeWithout is the mode of a file that has to be without an attribute. With an ACL, the bits of the group are the mask for all that the ACL names; left as they
// are, they would give the owning group what was meant for others.
func ModeWithout(name string, value []byte, mode uint32) uint32 {
	if name != aclAccess {
		return mode
	}
	group := uint32(0)
	for entry := value[min(len(value), aclHeader):]; len(entry) >= aclEntry; entry = entry[aclEntry:] {
		if binary.LittleEndian.Uint16(entry) == aclOwning {
			group = uint32(binary.LittleEndian.Uint16(entry[2:])) & 7
		}
	}
	return mode&^0o070 | mode&(group<<3)
}

var errACL = errors.New("malformed POSIX ACL")

// mapACL gives an ACL with other IDs.
func mapACL(raw []byte, id func(n uint32, user bool) uint32) ([]byte, error) {
	if len(raw) < aclHeader || len(raw) > aclMax || (len(raw)-aclHeader)%aclEntry != 0 || binary.LittleEndian.Uint32(raw) != aclVersion {
		return nil, errACL
	}
	out := slices.Clone(raw)
	for entry := out[aclHeader:]; len(entry) > 0; entry = entry[aclEntry:] {
		if tag := binary.LittleEndian.Uint16(entry); tag == aclUser || tag == aclGroup {
			binary.LittleEndian.PutUint32(entry[4:], id(binary.LittleEndian.Uint32(entry[4:]), tag == aclUser))
		}
	}
	return out, nil
}

// InsideACL is an ACL of a shifted file as it is without the map. IDs without a place in the map stay.
func InsideACL(m []spec.IDMapEntry, raw []byte) ([]byte, error) {
	return mapACL(raw, func(n uint32, user bool) uint32 { return uint32(Inside(m, int64(n), user)) })
}

// acls changes the IDs in the ACLs of a file, which may have been done already: each is recognised as an owner is. It comes before the owner's
// change, so that a file that has its new owner is done.
func (s *shifter) acls(path string, st *unix.Stat_t) error {
	names := aclNames
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return nil
	case unix.S_IFDIR:
	default:
		names = names[:1]
	}
	for _, name := range names {
		raw, err := s.attribute(path, name)
		if err != nil {
			return err
		}
		if raw == nil {
			continue
		}
		shifted, err := mapACL(raw, func(n uint32, user bool) uint32 { return uint32(s.id(n, user)) })
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if slices.Equal(shifted, raw) {
			continue
		}
		if err := unix.Setxattr(path, name, shifted, 0); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// attribute reads an extended attribute; nil if there is none, or the file system has none at all.
func (s *shifter) attribute(path, name string) ([]byte, error) {
	if s.buf == nil {
		s.buf = make([]byte, aclMax)
	}
	n, err := unix.Getxattr(path, name, s.buf)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return s.buf[:n], nil
}
