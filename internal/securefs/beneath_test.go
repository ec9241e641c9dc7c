package securefs

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestBeneath(t *testing.T) {
	for _, tt := range []struct {
		name, folder, rest string
	}{
		{"/srv/a", "/srv/a", "."},
		{"/srv/a/", "/srv/a", "."},
		{"/srv/a/b/c", "/srv/a", "b/c"},
		{"/srv/a/./b/../c", "/srv/a", "c"},
		{"/srv/a/sub/x", "/srv/a", "sub/x"}, // of two folders the outer one
		{"/srv/z/x", "/srv/z", "x"},
		{"/srv/a/../b", "", ""},
		{"/srv/ab", "", ""},
		{"/srv", "", ""},
		{"srv/a", "", ""},
		{"", "", ""},
	} {
		folder, rest, ok := Beneath([]string{"/srv/a/sub", "relative", "", "/srv/a/", "/srv/z"}, tt.name)
		if folder != tt.folder || rest != tt.rest || ok != (tt.folder != "") {
			t.Errorf("%s: %q, %q, %v", tt.name, folder, rest, ok)
		}
	}
	if folder, rest, ok := Beneath([]string{"/"}, "/etc/passwd"); folder != "/" || rest != "etc/passwd" || !ok {
		t.Errorf("beneath the root: %q, %q, %v", folder, rest, ok)
	}
}

// links makes a folder "in" with links of all kinds, beside one that it must not lead to.
func links(t *testing.T) (folder string) {
	t.Helper()
	top := t.TempDir()
	for _, dir := range []string{"in/sub", "out"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"inside": "sub", "back": "sub/../sub", "up": "../out", "absolute": filepath.Join(top, "out"), "home": filepath.Join(top, "in", "sub"),
		"nowhere": "/no/such/place", "up2": "../none", "dangling": "none", "loop": "loop", "magic": "/proc/self/root/etc", "sub/chain": "../up",
	} {
		if err := os.Symlink(target, filepath.Join(top, "in", name)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(top, "in")
}

func TestOpenBeneathFollowsNoLinkOut(t *testing.T) {
	folder := links(t)
	for name, want := range map[string]error{
		".": nil, "sub": nil, "inside": nil, "back": nil,
		// The answer is the same whether there is something where a link leads out to or not.
		"up": ErrOutside, "up2": ErrOutside, "absolute": ErrOutside, "nowhere": ErrOutside, "home": ErrOutside, "magic": ErrOutside,
		"loop": ErrOutside, "sub/chain": ErrOutside, "up/x": ErrOutside, "up2/x": ErrOutside,
		"none": os.ErrNotExist, "dangling": os.ErrNotExist,
	} {
		f, err := OpenBeneath(folder, name)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", name, err, want)
		}
		if f != nil {
			_ = f.Close()
		}
	}
	if _, err := OpenBeneath(folder+"/none", "."); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// Whoever swaps a folder for a link while it is opened gets one of the two, and never what the link leads to.
func TestOpenBeneathWhileSomebodySwaps(t *testing.T) {
	folder := links(t)
	victim, other := filepath.Join(folder, "sub"), filepath.Join(folder, "absolute")
	outside, err := os.Stat(other)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = os.Rename(victim, victim+".away")
				_ = os.Rename(other, victim)
				_ = os.Rename(victim, other)
				_ = os.Rename(victim+".away", victim)
			}
		}
	})
	opened := 0
	for range 3000 {
		f, err := OpenBeneath(folder, "sub")
		if err != nil {
			continue
		}
		opened++
		if st, err := f.Stat(); err != nil || os.SameFile(st, outside) {
			t.Errorf("opened what is outside: %v, %v", st, err)
		}
		_ = f.Close()
	}
	close(done)
	swapper.Wait()
	if f, err := OpenBeneath(folder, "sub"); err != nil || opened == 0 {
		t.Errorf("opened %d times, and at last %v", opened, err)
	} else {
		_ = f.Close()
	}
}
