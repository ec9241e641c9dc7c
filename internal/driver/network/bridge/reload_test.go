package bridge

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/nettest"
)

// A program that is linked just now would be ended by the signal, as every signal does that is not waited for.
func TestAReloadDoesNotEndWhatStillStarts(t *testing.T) {
	nettest.Need(t)
	// Perl, as a shell that was started with the signal ignored, as by nohup, cannot trap it.
	for name, test := range map[string]struct{ script, want string }{
		"it has no handler": {`$| = 1; print "\n"; print while <STDIN>`, "still here"},
		"it has one":        {`$| = 1; $SIG{HUP} = sub { print "reloads\n" }; print "\n"; 1 while <STDIN>`, "reloads"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("perl", "-e", test.script)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			said := bufio.NewReader(out)
			if _, err := said.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			p := &process{fd: fd, record: processRecord{PID: cmd.Process.Pid}}
			defer p.close()
			if err := p.reload(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(in, "still here\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := said.ReadString('\n'); err != nil || strings.TrimSpace(line) != test.want {
				t.Errorf("it says %q, %v; want %q", line, err, test.want)
			}
		})
	}
}
