package hostroute

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
)

// route is one route of an owner: to where, over which interface. An index is given to no other interface until the host boots again.
type route struct {
	Dst  netip.Prefix `json:"dst"`
	Link int          `json:"link"`
}

func (r route) family() int {
	if r.Dst.Addr().Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// record is the content of an owner's file. It outlives the routes when the host boots: by Boot it is known to mean nothing then.
type record struct {
	Boot   string  `json:"boot"`
	Routes []route `json:"routes"`
}

// maxRecord bounds what is read of a record, in bytes.
const maxRecord = 1 << 20

var bootID = sync.OnceValue(func() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(id))
})

// read is what the owner has. A file that does not parse is what a power cut left, and of another boot.
func (o Owner) read() []route {
	if o.File == "" {
		return nil
	}
	data, err := os.ReadFile(o.File)
	if err != nil || len(data) > maxRecord {
		return nil
	}
	return parse(data, bootID())
}

func parse(data []byte, boot string) []route {
	var r record
	if json.Unmarshal(data, &r) != nil || r.Boot != boot {
		return nil
	}
	return slices.DeleteFunc(r.Routes, func(r route) bool { return !r.Dst.IsValid() || r.Link <= 0 })
}

func (o Owner) recorded() bool {
	_, err := os.Lstat(o.File)
	return err == nil
}

// change writes what the owner has, if that is not what the file says.
func (o Owner) change(from, to []route) error {
	if !slices.Equal(from, to) || !o.recorded() {
		return o.write(to)
	}
	o.note(to)
	return nil
}

func (o Owner) note(routes []route) {
	if known[o.File] = (holding{o, routes}); len(routes) == 0 {
		delete(known, o.File)
	}
}

// write replaces the file. It does not sync: a power cut ends the routes too.
func (o Owner) write(routes []route) error {
	data, err := json.Marshal(record{Boot: bootID(), Routes: routes})
	if err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(o.File), "."+filepath.Base(o.File))
	if err = os.WriteFile(temp, data, 0o600); err == nil {
		err = os.Rename(temp, o.File)
	}
	if err != nil {
		return fmt.Errorf("record of routes: %w", errors.Join(err, ignoreMissing(os.Remove(temp))))
	}
	o.note(routes)
	return nil
}

func (o Owner) forget() error {
	delete(known, o.File)
	return ignoreMissing(os.Remove(o.File))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
