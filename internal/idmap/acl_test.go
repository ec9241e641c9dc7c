package idmap

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
)

// acl makes an ACL with a named user and a named group.
func acl(user, group uint32) []byte {
	raw := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 7, ^uint32(0)}, {aclUser, 6, user}, {0x04, 5, ^uint32(0)}, {aclGroup, 4, group}, {0x10, 7, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		raw = binary.LittleEndian.AppendUint16(raw, e.tag)
		raw = binary.LittleEndian.AppendUint16(raw, e.perm)
		raw = binary.LittleEndian.AppendUint32(raw, e.id)
	}
	return raw
}

var testMap = []spec.IDMapEntry{{UID: true, GID: true, HostID: 1000000, Count: 65536}}

func TestACLsAreShifted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, file, foreign := filepath.Join(root, "d"), filepath.Join(root, "f"), filepath.Join(root, "x")
	do(os.Mkdir(dir, 0o750))
	do(os.WriteFile(file, nil, 0o640))
	do(os.WriteFile(foreign, nil, 0o640))
	do(unix.Setxattr(dir, "system.posix_acl_default", acl(33, 1000), 0))
	do(unix.Setxattr(file, "system.posix_acl_access", acl(33, 70000), 0))
	do(os.Chown(foreign, 80000, 80000)) // nobody's inside: its owner stays, its ACL does not
	do(unix.Setxattr(foreign, "system.posix_acl_access", acl(5, 6), 0))
	check := func(path, name string, user, group uint32) {
		t.Helper()
		buf := make([]byte, 200)
		n, err := unix.Getxattr(path, name, buf)
		if err != nil || string(buf[:n]) != string(acl(user, group)) {
			t.Errorf("%s of %s is %x, %v; want user %d and group %d", name, filepath.Base(path), buf[:n], err, user, group)
		}
	}
	for range 2 { // the second time there is nothing to do
		do(Shift(context.Background(), root, testMap))
		check(dir, "system.posix_acl_default", 1000033, 1001000)
		check(file, "system.posix_acl_access", 1000033, 70000)
		check(foreign, "system.posix_acl_access", 1000005, 1000006)
	}
	// A kill between the ACL's change and the owner's.
	do(os.Chown(file, 0, 0))
	do(os.Chown(root, 0, 0))
	do(Shift(context.Background(), root, testMap))
	check(file, "system.posix_acl_access", 1000033, 70000)
	do(Unshift(context.Background(), root, testMap))
	check(dir, "system.posix_acl_default", 33, 1000)
	check(file, "system.posix_acl_access", 33, 70000)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o770 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
}

func TestMalformedACLs(t *testing.T) {
	good := acl(1, 2)
	for name, raw := range map[string][]byte{"empty": nil, "cut": good[:len(good)-1], "version": append([]byte{1}, good[1:]...), "huge": make([]byte, aclMax+8)} {
		if _, err := InsideACL(testMap, raw); !errors.Is(err, errACL) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzACL(f *testing.F) {
	f.Add(acl(1000033, 70000))
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		inside, err := InsideACL(testMap, raw)
		if err == nil && (len(inside) != len(raw) || string(inside[:aclHeader]) != string(raw[:aclHeader])) {
			t.Errorf("%x became %x", raw, inside)
		}
	})
}
