package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

// TestMain is also the process that TestKill kills: it commits and says so, for ever. And it is the one that
// TestOpenOutlivesAKilledProcess waits for.
func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_VICTIM"); path != "" {
		victim(path)
	}
	if path := os.Getenv(dyingEnv); path != "" {
		die(path)
	}
	runtime.UnlockOSThread()
	os.Exit(m.Run())
}

const victims = 4

func victim(path string) {
	e, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var said sync.Mutex
	for w := range victims {
		go func() {
			for i := 1; ; i++ {
				value := fmt.Sprint(i)
				ops := []store.Op{storetest.Put(fmt.Sprintf("/a/%d", w), value), storetest.Put(fmt.Sprintf("/b/%d", w), value),
					storetest.Put(fmt.Sprintf("/pad/%d/%d", w, i%50), strings.Repeat("x", i%2000))}
				if _, err := e.Commit(context.Background(), ops); err != nil {
					fmt.Println("commit:", err)
					os.Exit(1)
				}
				said.Lock()
				fmt.Println(w, i)
				said.Unlock()
			}
		}()
	}
	select {}
}

// TestKill kills a process that commits, again and again: the store must open, hold each commit that was reported, and none
// by halves.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		reported := runVictim(t, path, 20+round*37)
		e, err := store.OpenBolt(path, store.Options{NoBackup: true})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		entries, _, err := store.List(t.Context(), e, "/")
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]int{}
		for _, entry := range entries {
			var n int
			_, _ = fmt.Sscanf(strings.Trim(string(entry.Value), `"`), "%d", &n)
			have[entry.Key] = n
		}
		for w, n := range reported {
			a, b := have[fmt.Sprintf("/a/%d", w)], have[fmt.Sprintf("/b/%d", w)]
			if a != b || a < n {
				t.Errorf("round %d, writer %d: reported %d, has %d and %d", round, w, n, a, b)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// runVictim lets the process report some commits, kills it, and returns the last one each writer reported.
func runVictim(t *testing.T, path string, commits int) [victims]int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "STORE_VICTIM="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reported [victims]int
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		var w, n int
		if _, err := fmt.Sscan(lines.Text(), &w, &n); err != nil {
			t.Fatalf("the process says %q", lines.Text())
		}
		reported[w] = n
		if seen == commits {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	return reported
}

// FuzzFile opens and checks whatever bytes: success or ErrCorrupt, never a panic.
func FuzzFile(f *testing.F) {
	good, err := os.ReadFile("testdata/schema-1.db")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{1}, good)
	f.Add(4096*3+16, []byte{0xff, 0xff}, good)
	f.Add(0, []byte{}, []byte("no store"))
	f.Fuzz(func(t *testing.T, at int, patch, data []byte) {
		if at >= 0 && at < len(data) {
			data = append([]byte(nil), data...)
			copy(data[at:], patch)
		}
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.CheckFile(path); err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("check: %v", err)
		}
		e, err := store.OpenBolt(path, store.Options{NoBackup: true})
		if err == nil {
			_, err = e.Commit(t.Context(), []store.Op{storetest.Put("/new", "x"), {Key: "/instances/default/web", Delete: true}})
			_ = e.Close()
		}
		if err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer) {
			t.Errorf("open: %v", err)
		}
	})
}
