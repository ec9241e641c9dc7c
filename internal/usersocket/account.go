package usersocket

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// account is a user of this machine.
type account struct {
	uid, gid uint32
	name     string
	home     string // empty: none that is the user's
}

// project is the user's own.
func (a *account) project() string { return fmt.Sprintf("user-%d", a.uid) }

// lookUp finds the account of whoever is at the other end of a socket. A UID without an account fails.
func lookUp(uid uint32) (*account, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("group of user %s: %w", u.Username, err)
	}
	a := &account{uid: uid, gid: uint32(gid), name: u.Username}
	if home := filepath.Clean(u.HomeDir); filepath.IsAbs(home) && owns(uid, home) {
		a.home = home
	}
	return a, nil
}

// owns tells whether a folder is a user's. Accounts of services have homes such as / and /nonexistent.
func owns(uid uint32, folder string) bool {
	info, err := os.Stat(folder)
	if err != nil || !info.IsDir() || folder == "/" {
		return false
	}
	var st unix.Stat_t
	return unix.Stat(folder, &st) == nil && st.Uid == uid
}
