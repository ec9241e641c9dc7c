package archive

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/idmap"
)

// inside is the value of an extended attribute without the map.
func (p *Packer) inside(key, value string) (string, error) {
	switch {
	case len(p.IDMap) == 0:
		return value, nil
	case key == "security.capability":
		return string(idmap.InsideCapability([]byte(value))), nil
	case idmap.IsACL(key):
		acl, err := idmap.InsideACL(p.IDMap, []byte(value))
		return string(acl), err
	}
	return value, nil
}

// maxAttributes bounds the attributes of one file, in bytes. They and its names are one PAX header, of which readers take a mebibyte; a guest can
// give a file many times as much on file systems that hold it.
const maxAttributes = 512 << 10

// xattrs reads the attributes of an open file that belong into an archive. A file system without attributes has none. Where st says what goes with one
// that cannot be packed, it is changed.
func (p *Packer) xattrs(fd int, file string, st *unix.Stat_t) map[string]string {
	return p.attributes(file, st,
		func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// xattrsAt is xattrs of what cannot be opened, a link, a device or a pipe, which is in an open folder.
func (p *Packer) xattrsAt(dir int, base, file string, st *unix.Stat_t) map[string]string {
	at := procPath(dir, base)
	return p.attributes(file, st,
		func(buf []byte) (int, error) { return unix.Llistxattr(at, buf) },
		func(name string, buf []byte) (int, error) { return unix.Lgetxattr(at, name, buf) })
}

func (p *Packer) attributes(file string, st *unix.Stat_t, list func([]byte) (int, error), get func(string, []byte) (int, error)) map[string]string {
	size, err := list(p.buf) // which holds XATTR_LIST_MAX, and XATTR_SIZE_MAX below
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) || err == nil && size == 0 {
		return nil
	}
	if err != nil {
		p.Omitted.Add(file, "its attributes cannot be listed: %v", err)
		return nil
	}
	found, room := map[string]string{}, maxAttributes
	for _, name := range strings.Split(strings.TrimSuffix(string(p.buf[:size]), "\x00"), "\x00") {
		n, err := get(name, p.buf)
		switch {
		case errors.Is(err, unix.ENODATA): // gone meanwhile
		case err != nil:
			p.Omitted.Add(file, "attribute %s cannot be read: %v", name, err)
		case !keepXattr(name):
			p.Omitted.Add(file, "attribute %s belongs to this host", name)
		case strings.Contains(name, "="): // PAX ends a key there
			p.Omitted.Add(file, "an archive cannot hold attribute %s", name)
		case p.NoACLs && idmap.IsACL(name):
			p.Omitted.Add(file, "this format cannot hold %s", name)
			st.Mode = idmap.ModeWithout(name, p.buf[:n], st.Mode)
		case len(name)+n > room:
			p.Omitted.Add(file, "attribute %s is more than an archive can hold of one file", name)
			st.Mode = idmap.ModeWithout(name, p.buf[:n], st.Mode)
		default:
			found[name], room = string(p.buf[:n]), room-len(name)-n
		}
	}
	return found
}
