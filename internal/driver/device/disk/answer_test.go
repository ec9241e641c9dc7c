package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// hang mounts a file system at a folder that answers nothing until answer is called, and from then on with errors.
func hang(t *testing.T, at string) (answer func()) {
	t.Helper()
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs FUSE:", err)
	}
	answered := false
	answer = func() {
		if !answered {
			answered = true
			_ = unix.Close(fuse)
		}
	}
	if err := unix.Mount("x", at, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		answer()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		answer()
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return answer
}

// inTime fails the test if a call hangs.
func inTime(t *testing.T, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("%s waits for the source", what)
		return nil
	}
}

// TestASourceThatDoesNotAnswer is waited for as long as patience says, and once only.
func TestASourceThatDoesNotAnswer(t *testing.T) {
	for _, project := range []string{"p", "q"} { // one that is held to folders, and one that is not
		t.Run(project, func(t *testing.T) {
			c := newConfined(t)
			c.inst.Project, c.patience = project, 100*time.Millisecond
			answer := hang(t, filepath.Join(c.top, "in", "sub"))
			ctx, cfg := t.Context(), c.disk("in/sub/share")
			start := func() error { _, err := c.Start(ctx, c.inst, "d", cfg, nil); return err }
			for what, ask := range map[string]func() error{
				"Check":   func() error { return c.Check(ctx, c.inst, "d", cfg) },
				"Answers": func() error { return c.Answers(ctx, c.inst, cfg) },
				"Start":   start,
				"a start that may do without it": func() error {
					_, err := c.Start(ctx, c.inst, "d", c.disk("in/sub/share", "required=false"), nil)
					return err
				},
				"CheckSupported": func() error { return c.CheckSupported(project, nil, c.disk("in/sub/share", "raw.mount.options=uid=5")) },
			} {
				if err := inTime(t, what, ask); !api.IsUnavailable(err) || !strings.Contains(err.Error(), `/in/sub/share" does not answer`) {
					t.Errorf("%s: %v", what, err)
				}
			}
			c.patience = time.Hour
			if err := inTime(t, "a second start", start); !api.IsUnavailable(err) {
				t.Errorf("while one call hangs: %v", err)
			}
			if err := inTime(t, "validation", func() error { return c.Validate(ctx, c.inst, "d", c.disk("in/sub/share", "recursive=true")) }); err != nil {
				t.Errorf("what may be right is refused: %v", err)
			}
			if _, err := c.start(c.disk("in/file")); err != nil {
				t.Errorf("another source: %v", err)
			}
			c.stop()
			answer()
			for deadline := time.Now().Add(time.Minute); ; { // the call that was left behind comes back when it likes
				err := inTime(t, "a start, once it answers", start)
				if err != nil && !api.IsUnavailable(err) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("once it answers: %v", err)
				}
			}
			c.stop()
		})
	}
}

// TestWhatIsOnTheHostIsSeenWhileItHangs: a disk can be taken away whose source hangs that was mounted for it.
func TestWhatIsOnTheHostIsSeenWhileItHangs(t *testing.T) {
	c := newConfined(t)
	at := hostPath(c.inst, "d")
	c.do(os.MkdirAll(at, 0o700))
	hang(t, at)
	var source string
	c.do(inTime(t, "a look", func() error {
		source = c.shows(t.Context(), c.inst, "d", c.disk("in/sub")).Source
		return nil
	}))
	if source != at {
		t.Errorf("it is looked for at %s", source)
	}
}
