package e2e

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/berthd/berth/test/harness"
)

// mounted has a client serve the files of an instance and returns a connection to them.
func mounted(t *testing.T, d *harness.Daemon, program, instance string) *sftp.Client {
	t.Helper()
	cmd := exec.Command(program, "file", "mount", instance, "--listen", "127.0.0.1:0", "--no-auth")
	cmd.Env = d.Environ()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s file mount says nothing: %v", program, err)
	}
	_, address, _ := strings.Cut(strings.TrimSpace(said), " on ")
	conn, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: "x", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Files of a running and of a stopped instance are served by Berth's client and by the stock one, as the instance's root sees them; and
// a client that stays keeps neither the instance nor its removal.
func TestFilesAreMounted(t *testing.T) {
	stock := harness.StockClient(t)
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "runs")
	d.Berth("init", "bb", "rests")
	for _, program := range []string{harness.Program("berth"), stock} {
		for _, instance := range []string{"runs", "rests"} {
			c := mounted(t, d, program, instance)
			f, err := c.Create("/root/f")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write([]byte(program)); err != nil {
				t.Error(err)
			}
			if err := c.Chown("/root/f", 7, 8); err != nil {
				t.Error(err)
			}
			if got := d.Berth("file", "pull", instance+"/root/f", "-"); got != program {
				t.Errorf("%s of %s: %q", program, instance, got)
			}
			if info, err := c.Stat("/root/f"); err != nil || info.Sys().(*sftp.FileStat).UID != 7 {
				t.Errorf("%v %v", info, err)
			}
			if _, err := c.Open("/dev/zero"); err == nil {
				t.Errorf("%s: a device was opened", instance)
			}
			if err := c.Chown("/root/f", 0, 0); err != nil {
				t.Error(err)
			}
		}
	}
	stays := []*sftp.Client{mounted(t, d, stock, "runs"), mounted(t, d, stock, "rests")}
	d.Berth("stop", "-f", "runs")
	d.Berth("delete", "runs", "rests")
	for _, c := range stays {
		if _, err := c.Stat("/"); err == nil {
			t.Error("the files of an instance that is gone are still there")
		}
	}
}
