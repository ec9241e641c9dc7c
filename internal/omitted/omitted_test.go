package omitted

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/loopfs"
)

func TestTheFirstAreNamedAndAllAreCounted(t *testing.T) {
	var l List
	for i := range 1000 {
		l.Add(fmt.Sprintf("%s/file%d", strings.Repeat("d/", 500), i), "attribute %s is too large", "user.x")
	}
	said := l.String()
	if l.Count() != 1000 || !strings.Contains(said, "/file0: attribute user.x is too large; ") || !strings.HasSuffix(said, "; and 990 more") || len(said) > 5000 {
		t.Errorf("%d: %s", l.Count(), said)
	}
}

func TestOnlyOmissionsAreWarnedOf(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	var b bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	var l List
	l.Warn(context.Background(), "A copy lacks something", "")
	if b.Len() > 0 {
		t.Errorf("for nothing: %s", &b)
	}
	l.Add("etc/a\nlevel=ERROR", "it is gone")
	l.Warn(context.Background(), "A copy lacks something", "/1.0/instances/c1")
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "entity=/1.0/instances/c1") || !strings.Contains(got, "it is gone") {
		t.Errorf("%s", got)
	}
}

// Every file system refuses a large attribute in its own way, and none of these is a full disk.
func TestUnholdable(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, kind, top string) {
		f, err := os.Create(filepath.Join(top, "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fd := int(f.Fd())
		if err := unix.Fsetxattr(fd, "user.small", []byte("v"), 0); err != nil || XattrUnsupported(fd, err) {
			t.Errorf("a small one: %v", err)
		}
		for n := range 40 { // xfs holds any number of the largest
			err = unix.Fsetxattr(fd, fmt.Sprintf("user.large%d", n), make([]byte, 1<<16), 0)
			if err != nil {
				break
			}
		}
		if err != nil && !XattrUnsupported(fd, err) {
			t.Errorf("large ones: %v", err)
		}
		if kind == "ext4" && err == nil {
			t.Error("it holds more than a block")
		}
		if kind != "ext4" {
			return
		}
		block := make([]byte, 1<<20)
		for err = error(nil); err == nil; {
			_, err = f.Write(block)
		}
		if XattrUnsupported(fd, unix.ENOSPC) {
			t.Error("a full disk is taken for one that cannot hold it")
		}
	})
}
