package securefs

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// As runs f with the file system IDs of another user, and with the capabilities that override permissions kept. That
// is how the daemon makes files through an idmapped mount, or on a file system mounted inside a user namespace: the
// kernel refuses to make files for IDs that have no meaning there, such as the host's root.
//
// f runs on a thread of its own and must not start goroutines that make files. The thread is given back only if its
// IDs and capabilities could be put back.
func As(uid, gid int, f func() error) error {
	type result struct {
		err      error
		panicked any
	}
	done := make(chan result, 1)
	go func() {
		var res result
		runtime.LockOSThread()
		clean := false
		defer func() {
			if clean {
				runtime.UnlockOSThread() // without it the thread ends with this goroutine
			}
			done <- res
		}()
		before, err := capabilities()
		if err != nil {
			res.err, clean = err, true
			return
		}
		if err := become(uid, gid, before); err != nil {
			res.err, clean = err, restore(before)
			return
		}
		func() {
			defer func() { res.panicked = recover() }()
			res.err = f()
		}()
		clean = restore(before)
	}()
	res := <-done
	if res.panicked != nil {
		panic(res.panicked)
	}
	return res.err
}

// AsOnThread is As on the calling thread, for work that must stay in that thread's namespaces. The caller has locked
// the thread, and lets it end with its goroutine if an error comes back: its IDs may be another's.
func AsOnThread(uid, gid int, f func() error) error {
	before, err := capabilities()
	if err != nil {
		return err
	}
	err = become(uid, gid, before)
	if err == nil {
		err = f()
	}
	if !restore(before) {
		err = errors.Join(err, errors.New("file system IDs could not be put back"))
	}
	return err
}

type capState [2]unix.CapUserData

func capHeader() *unix.CapUserHeader {
	return &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}

func capabilities() (capState, error) {
	var state capState
	if err := unix.Capget(capHeader(), &state[0]); err != nil {
		return state, fmt.Errorf("capget: %w", err)
	}
	return state, nil
}

// become changes the thread's IDs. Leaving user 0 takes the file capabilities away; they are put back.
func become(uid, gid int, caps capState) error {
	if err := setID(unix.SetfsgidRetGid, gid); err != nil {
		return fmt.Errorf("setfsgid %d: %w", gid, err)
	}
	if err := setID(unix.SetfsuidRetUid, uid); err != nil {
		return fmt.Errorf("setfsuid %d: %w", uid, err)
	}
	if err := unix.Capset(capHeader(), &caps[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

func restore(caps capState) bool {
	uid, gid := unix.Geteuid(), unix.Getegid()
	return become(uid, gid, caps) == nil
}

// setID calls setfsuid or setfsgid, which report no error: the call with -1 changes nothing and tells the present ID.
func setID(set func(int) (int, error), id int) error {
	if _, err := set(id); err != nil {
		return err
	}
	if now, err := set(-1); err != nil {
		return err
	} else if now != id {
		return unix.EPERM
	}
	return nil
}
