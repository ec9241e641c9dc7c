package cli

import (
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// hinted is an error with what a user can do about it, which is shown on a line of its own: scripts match on the error.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// hintFor says what can be done about an error; empty where nobody knows.
func hintFor(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && op.Net == "unix" {
		return socketHint(op)
	}
	if strings.Contains(err.Error(), "No root device could be found") {
		return T("Run `berth init`: it makes a storage pool and gives the default profile a root disk on it")
	}
	return ""
}

// socketHint says why the daemon's socket cannot be connected to.
func socketHint(op *net.OpError) string {
	switch {
	case errors.Is(op, fs.ErrPermission):
		return T("Only root and the group berth may use this socket: have an administrator run `usermod -aG berth USER`, or berth-users for a project of your own (docs/users.md), then log in again")
	case errors.Is(op, fs.ErrNotExist), errors.Is(op, syscall.ECONNREFUSED):
		return T("Is berthd running? Start it as root with `systemctl start berth`, or by hand with `berthd`; $BERTH_DIR and $BERTH_SOCKET say where its socket is")
	}
	return ""
}

// shownImages is how many aliases a hint names.
const shownImages = 8

// withImages adds to "not found" which images there are.
func withImages(server *client.Client, err error) error {
	if !api.IsNotFound(err) || !strings.Contains(err.Error(), "Image not found") {
		return err
	}
	names := imageAliases(server)
	if len(names) == 0 {
		return hinted{err, T("This server has no image with an alias yet: `berth image build debian/12 --alias debian/12` makes one")}
	}
	more := ""
	if len(names) > shownImages {
		names, more = names[:shownImages], ", …"
	}
	return hinted{err, T("There are: ") + strings.Join(names, ", ") + more + ". " + T("`berth image build` makes others")}
}
