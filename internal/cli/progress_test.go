package cli

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// onTerminal runs the command line on a terminal of a size and returns all that the terminal got.
func onTerminal(t *testing.T, columns uint16, args ...string) (screen string, code int) {
	t.Helper()
	controller, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(controller, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string)
	go func() {
		data, _ := io.ReadAll(controller) // ends with EIO once the other end is closed
		shown <- string(data)
	}()
	code = (&App{In: strings.NewReader(""), Out: terminal, Err: terminal}).Run(args)
	terminal.Close()
	screen = <-shown
	controller.Close()
	return screen, code
}

func TestTransfersAreShownTenTimesASecondAtMost(t *testing.T) {
	f := newFake(t)
	const size = 64 << 20
	f.answers["GET /1.0/instances/c1/files"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("X-LXD-type", "file")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		block := bytes.Repeat([]byte("x"), size/16)
		for range 16 {
			_, _ = w.Write(block)
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond) // the pace of the other side
		}
	}
	f.gives("POST /1.0/instances/c1/files", struct{}{})
	local := filepath.Join(t.TempDir(), "a-file-with-quite-a-long-name-that-would-not-leave-room-for-the-rest")
	for _, args := range [][]string{{"file", "pull", "c1/big", local}, {"file", "push", local, "c1/big"}} {
		start := time.Now()
		screen, code := onTerminal(t, 90, args...)
		most := 3 + int(time.Since(start)/redraw)
		if code != 0 {
			t.Fatalf("%v: %d %q", args, code, screen)
		}
		if n := strings.Count(screen, "MB/s"); n < 1 || n > most {
			t.Errorf("%v: drawn %d times in %s", args, n, time.Since(start))
		}
		if !strings.Contains(screen, "%") || !strings.Contains(screen, "…") || strings.Contains(screen, "\n") {
			t.Errorf("%v: %q", args, screen)
		}
		for _, line := range strings.Split(screen, "\r") {
			if n := len([]rune(line)); n > 90 {
				t.Errorf("%v: a line of %d characters: %q", args, n, line)
			}
		}
		if last := strings.TrimRight(screen, " \r"); strings.HasSuffix(last, "s]") && !strings.HasSuffix(screen, "\r") {
			t.Errorf("%v: the line stays: %q", args, screen)
		}
	}
	if info, err := os.Stat(local); err != nil || info.Size() != size {
		t.Errorf("%v %v", info, err)
	}
}
