package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/internal/store"
)

func TestWhoHoldsAStoreIsKnownByTheLock(t *testing.T) {
	if _, err := store.HolderOf(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where there is no store: %v", err)
	}
	path := filled(t, 3)
	if _, err := store.HolderOf(path); !errors.Is(err, store.ErrUnused) {
		t.Errorf("where nobody uses it: %v", err)
	}
	s := open(t, path)
	holder, err := store.HolderOf(path)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if !holder.Is(os.Getpid()) || holder.Is(os.Getppid()) || holder.Is(1<<30) {
		t.Errorf("this process: %v, its parent: %v, nobody: %v", holder.Is(os.Getpid()), holder.Is(os.Getppid()), holder.Is(1<<30))
	}
	ended := make(chan error, 1)
	go func() { ended <- holder.Wait(t.Context()) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if holder.Is(os.Getpid()) {
		t.Error("whoever only has the file open counts as its holder")
	}
}
