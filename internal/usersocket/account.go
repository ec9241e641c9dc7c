package usersocket

import (
	"context"
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
)

// homeTime bounds the wait for a user's home.
const homeTime = 5 * time.Second

// account is a user of this machine.
type account struct {
	uid, gid uint32
	name     string
	home     string // what the account says: it may be another's, or absent, or hang
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
	return &account{uid: uid, gid: uint32(gid), name: u.Username, home: filepath.Clean(u.HomeDir)}, nil
}

// ownHome is the home of an account if it is a folder of the user's, else empty. One that does not answer, on a server that is gone, fails with
// api.Unavailable after homeTime.
func (s *Service) ownHome(ctx context.Context, a *account) (string, error) {
	if !filepath.IsAbs(a.home) {
		return "", nil
	}
	owned, err := bounded.Do(ctx, &s.homes, a.home, homeTime, func() (bool, error) { return s.owns(a.uid, a.home), nil })
	switch {
	case err != nil:
		return "", api.Unavailable("home %s: %w", a.home, err)
	case !owned:
		return "", nil
	}
	return a.home, nil
}

// owns tells whether a folder is a user's. Accounts of services have homes such as / and /nonexistent.
func (s *Service) owns(uid uint32, folder string) bool {
	var st unix.Stat_t
	return folder != "/" && s.stat(folder, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Uid == uid
}
