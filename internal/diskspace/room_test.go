package diskspace

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is a file system that counts late, as btrfs does: what is written shows once it is synced.
type disk struct {
	total, free, pending int64
	files, ffree         uint64
	syncs                int
}

func (d *disk) room(quota int64) *Room {
	r := New("/x", "the pool", quota)
	r.stat = func(_ string, st *unix.Statfs_t) error {
		st.Frsize, st.Blocks, st.Bavail = Block, uint64(d.total/Block), uint64(d.free/Block)
		st.Files, st.Ffree = d.files, d.ffree
		return nil
	}
	r.sync = func(string) error { d.syncs++; d.free, d.pending = d.free-d.pending, 0; return nil }
	return r
}

// fill takes pieces until there is no room.
func (d *disk) fill(t *testing.T, r *Room, piece int64) (taken int64, full *Full) {
	t.Helper()
	for range 1 << 20 {
		err := r.Take(piece)
		if errors.As(err, &full) {
			return taken, full
		}
		if err != nil {
			t.Fatal(err)
		}
		taken, d.pending = taken+piece, d.pending+piece
	}
	t.Fatal("there is room without end")
	return
}

func TestTheReserveIsKept(t *testing.T) {
	for _, free := range []int64{60 * gib, 6 * gib, 300 * mib} {
		d := &disk{total: 100 * gib, free: free}
		taken, full := d.fill(t, d.room(0), mib)
		want := max(free-Reserve(d.total), 0)
		if taken > want || taken < want-2*mib {
			t.Errorf("of %d MiB free, %d MiB could be taken, want %d", free/mib, taken/mib, want/mib)
		}
		if !errors.Is(full, syscall.ENOSPC) || !strings.Contains(full.Error(), "the pool") || !strings.Contains(full.Error(), "reserve") {
			t.Error(full)
		}
	}
}

func TestReserve(t *testing.T) {
	for total, want := range map[int64]int64{100 * mib: 10 * mib, 20 * gib: gib, 100 * gib: 5 * gib, 10000 * gib: 16 * gib} {
		if got := Reserve(total); got != want {
			t.Errorf("of %d: %d, want %d", total, got, want)
		}
	}
}

func TestAQuotaIsKept(t *testing.T) {
	d := &disk{total: 100 * gib, free: 50 * gib}
	if taken, full := d.fill(t, d.room(10*mib), mib); taken != 10*mib || full.Quota != 10*mib || !strings.Contains(full.Error(), "10 MiB") {
		t.Error(taken, full)
	}
}

func TestFilesAreCounted(t *testing.T) {
	d := &disk{total: 100 * gib, free: 50 * gib, files: 1000, ffree: 500}
	r := d.room(0)
	made := 0
	for ; made < 2000; made++ {
		if err := r.TakeFile(); err != nil {
			if !strings.Contains(err.Error(), "files") {
				t.Error(err)
			}
			break
		}
		d.ffree--
	}
	if made != 490 {
		t.Errorf("%d files could be made, want 490", made)
	}
	d = &disk{total: 100 * gib, free: 50 * gib} // btrfs counts none
	if err := d.room(0).TakeFile(); err != nil {
		t.Error(err)
	}
}

func TestLeft(t *testing.T) {
	d := &disk{total: 100 * gib, free: 7 * gib}
	if left, err := d.room(0).Left(); err != nil || left != 2*gib {
		t.Error(left, err)
	}
	if left, err := d.room(mib).Left(); err != nil || left != mib {
		t.Error(left, err)
	}
}

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w := Writer{W: &b, Room: New(t.TempDir(), "the folder", 5)}
	if n, err := w.Write([]byte("12345")); n != 5 || err != nil {
		t.Error(n, err)
	}
	if n, err := w.Write([]byte("6")); n != 0 || !errors.Is(err, syscall.ENOSPC) || b.String() != "12345" {
		t.Error(n, err, b.String())
	}
}
