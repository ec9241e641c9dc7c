package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/sandbox"
)

// fakeTool puts a script in the place of a tool. It may use what its shell can do by itself: a confined process makes no others.
func fakeTool(t *testing.T, name, script string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "fake-tool-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

var epoch = time.Unix(1e9, 0)

// noise is what no program makes smaller.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data)
	return data
}

// tell is what a process can say of its own rights.
const tell = `while read -r key value; do case $key in Uid:|Gid:|Groups:|NoNewPrivs:|Seccomp:|CapEff:) printf '%s\n' "$key$value";; esac; done < /proc/self/status
printf '%s\n' "${SECRET-none}"
ulimit -d; ulimit -t; ulimit -f
`

// Every program that reads or writes archives runs as nobody, without rights, and with limits.
func TestToolsAreConfined(t *testing.T) {
	squashed := append([]byte("hsqs"), make([]byte, 4096)...)
	for name, file := range map[string][]byte{"xz": []byte("\xfd7zXZ\x00"), "sqfs2tar": squashed} {
		t.Run(name, func(t *testing.T) {
			fakeTool(t, name, tell)
			t.Setenv("SECRET", "of the daemon")
			r, err := Open(context.Background(), fileOf(t, file), nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(strings.Fields(string(out)), " ")
			want := "Uid:65534 65534 65534 65534 Gid:65534 65534 65534 65534 Groups: CapEff:0000000000000000 NoNewPrivs:1 Seccomp:2 none 1310720 3600 0"
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestSquashfsIsReadAsNobody(t *testing.T) {
	fakeTool(t, "sqfs2tar", "read -r line < \"$1\"; printf '%s\\n' \"$line\"\n")
	f := fileOf(t, append([]byte("hsqs\n"), make([]byte, 100)...))
	if err := f.Chmod(0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(context.Background(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(out) != "hsqs\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestATooGreedyToolEnds(t *testing.T) {
	fakeTool(t, "xz", "x=xxxxxxxxxxxxxxxx\nwhile :; do x=$x$x; done\n")
	r, err := Open(context.Background(), fileOf(t, []byte("\xfd7zXZ\x00")), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err == nil {
		t.Errorf("it gave %d bytes without an error", len(out))
	}
}

func TestAToolWritesNoMoreThanThereIsRoomFor(t *testing.T) {
	needRoot(t)
	for _, name := range []string{"xz", "squashfs", "none", "gzip"} {
		c, err := ParseCompression(name)
		if err != nil {
			t.Fatal(err)
		}
		f := fileOf(t, nil)
		w, err := c.Compress(context.Background(), f, diskspace.New(filepath.Dir(f.Name()), "the pool", 64<<10))
		if err != nil {
			t.Fatal(err)
		}
		p := NewPacker(context.Background(), w)
		err = errors.Join(p.AddBytes("noise", noise(1<<20), epoch), p.Close(), w.Close())
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size > 64<<10 || st.Uid != 0 {
			t.Errorf("%s: %d bytes of user %d, %v", name, st.Size, st.Uid, err)
		}
	}
}

// What xz and sqfs2tar make of a damaged file is for them to say; it must not reach further than an error.
func FuzzTools(f *testing.F) {
	for _, c := range []string{"xz", "lzma", "squashfs"} {
		compression, err := ParseCompression(c)
		if err != nil {
			f.Fatal(err)
		}
		file := fileOf(f, nil)
		w, err := compression.Compress(context.Background(), file, nil)
		if err != nil {
			f.Fatal(err)
		}
		p := NewPacker(context.Background(), w)
		if err := errors.Join(p.AddBytes("a", []byte("content"), epoch), p.Close(), w.Close()); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(file.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if format, err := Detect(data); err != nil || format != Xz && format != Lzma && format != Squashfs {
			return
		}
		dir := t.TempDir()
		_, err := Unpack(context.Background(), fileOf(t, data), dir, Options{Room: diskspace.New(dir, "the pool", 1<<20)})
		if left, _ := os.ReadDir(dir); err != nil && len(left) > 0 {
			t.Fatalf("left behind: %v after %v", left, err)
		}
	})
}

func TestSandboxRefusesARelativePath(t *testing.T) {
	if _, err := sandbox.Tool(context.Background(), sandbox.Limits{}, "xz"); err == nil {
		t.Error("accepted")
	}
	var out bytes.Buffer
	cmd := exec.Command(sandbox.Program(), `{"memory":-1}`, "run", "/bin/true")
	cmd.Stderr = &out
	if err := cmd.Run(); err == nil || !strings.Contains(out.String(), "limits") {
		t.Errorf("%v: %s", err, out.String())
	}
}
