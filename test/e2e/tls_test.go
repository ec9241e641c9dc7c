package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// overTLS lets the daemon listen, and gives a function that runs a client in its network namespace.
func overTLS(t *testing.T, d *harness.Daemon) (addr string, inside func(name string, args ...string) (string, error)) {
	t.Helper()
	addr = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	d.Berth("config", "set", "core.https_address", addr)
	d.Berth("config", "set", "core.trust_password", "sesame")
	return addr, func(name string, args ...string) (string, error) {
		return d.Try("nsenter", append([]string{"--net=/run/netns/" + d.NS, name}, args...)...)
	}
}

func TestRemoteWorkOverTLS(t *testing.T) {
	d := harness.New(t).Pool()
	addr, inside := overTLS(t, d)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/in", []byte("content\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{harness.Program("berth"), harness.StockClient(t)} {
		t.Run(filepath.Base(client), func(t *testing.T) {
			run := func(args ...string) string {
				t.Helper()
				out, err := inside(client, args...)
				if err != nil {
					t.Fatalf("%s: %v %s\n%s", strings.Join(args, " "), err, out, d.Log())
				}
				return out
			}
			run("remote", "add", "there", "https://"+addr, "--accept-certificate", "--password", "sesame")
			run("image", "import", harness.Busybox(t), "there:", "--alias", "far")
			heard := monitor(t, d, client)
			run("launch", "there:far", "there:c1")
			run("file", "push", dir+"/in", "there:c1/tmp/x")
			run("file", "pull", "there:c1/tmp/x", dir+"/out")
			if data, err := os.ReadFile(dir + "/out"); err != nil || string(data) != "content\n" {
				t.Errorf("pulled %q, %v", data, err)
			}
			if out := run("exec", "there:c1", "--", "sh", "-c", "cat /tmp/x; id -u"); out != "content\n0\n" {
				t.Errorf("exec: %q", out)
			}
			if _, err := inside(client, "exec", "there:c1", "--", "sh", "-c", "exit 7"); code(err) != 7 {
				t.Errorf("exit status: %v", err)
			}
			run("delete", "--force", "there:c1")
			run("image", "export", "there:far", dir+"/image")
			run("image", "delete", "there:far")
			harness.Eventually(t, 10*time.Second, "the monitor hears of it", func() bool {
				return strings.Contains(heard(), "instance-started") && strings.Contains(heard(), "instance-deleted")
			})
			run("remote", "remove", "there")
			if files, _ := filepath.Glob(dir + "/image*"); len(files) != 1 {
				t.Errorf("exported: %v", files)
			}
			_ = os.Remove(dir + "/out")
			_ = os.Remove(dir + "/image.tar.gz")
		})
	}
}

// monitor listens to the remote "there" until the test ends, and returns what it heard; it listens before it returns.
func monitor(t *testing.T, d *harness.Daemon, client string) func() string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "heard")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nsenter", "--net=/run/netns/"+d.NS, client, "monitor", "there:", "--type=lifecycle", "--format=json")
	cmd.Env, cmd.Stdout, cmd.Stderr = d.Environ(), out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = out.Close() })
	heard := func() string { data, _ := os.ReadFile(file); return string(data) }
	n := 0
	harness.Eventually(t, 20*time.Second, "the monitor listens", func() bool {
		n++
		d.Berth("profile", "set", "default", fmt.Sprintf("user.n=%d", n))
		return strings.Contains(heard(), "profile-updated")
	})
	d.Berth("profile", "unset", "default", "user.n")
	return heard
}

// TestCertificatesOfAnAuthorityAreTrusted is the PKI mode: server.ca vouches for clients.
func TestCertificatesOfAnAuthorityAreTrusted(t *testing.T) {
	d := harness.Prepare(t)
	dir := t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	key := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"}
	for _, ca := range []string{"ca", "other"} {
		openssl(append([]string{"req", "-x509", "-days", "2", "-subj", "/CN=" + ca, "-keyout", dir + "/" + ca + ".key", "-out", dir + "/" + ca + ".crt"}, key...)...)
		name := dir + "/by-" + ca
		openssl(append([]string{"req", "-new", "-subj", "/CN=client", "-keyout", name + ".key", "-out", name + ".csr"}, key...)...)
		openssl("x509", "-req", "-days", "2", "-in", name+".csr", "-CA", dir+"/"+ca+".crt", "-CAkey", dir+"/"+ca+".key", "-CAcreateserial", "-out", name+".crt")
	}
	ca, err := os.ReadFile(dir + "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Dir+"/server.ca", ca, 0o600); err != nil {
		t.Fatal(err)
	}
	d.Start()
	addr, inside := overTLS(t, d)
	ask := func(who string) string {
		t.Helper()
		out, err := inside("curl", "-sk", "--cert", dir+"/"+who+".crt", "--key", dir+"/"+who+".key", "https://"+addr+"/1.0/instances")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	trusted := func(who string) bool { return strings.Contains(ask(who), `"metadata":[]`) }
	if trusted("by-ca") {
		t.Error("the authority is trusted without core.trust_ca_certificates")
	}
	d.Berth("config", "set", "core.trust_ca_certificates", "true")
	if !trusted("by-ca") {
		t.Errorf("a client of the authority is not trusted: %s", ask("by-ca"))
	}
	if trusted("by-other") {
		t.Error("a client of another authority is trusted")
	}
	d.Berth("config", "unset", "core.trust_ca_certificates")
	if trusted("by-ca") {
		t.Error("the authority is still trusted")
	}
}

// TestTheSocketIsForRootAndItsGroup asks as nobody, in the group and out of it.
func TestTheSocketIsForRootAndItsGroup(t *testing.T) {
	d := harness.Prepare(t)
	d.Args = []string{"--group", "daemon"}
	d.Start()
	for group, want := range map[string]bool{"daemon": true, "nogroup": false} {
		out, err := d.Try("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--groups", group,
			"curl", "-s", "--unix-socket", d.Dir+"/unix.socket", "lxd/1.0/instances")
		if got := err == nil && strings.Contains(out, `"metadata":[]`); got != want {
			t.Errorf("group %s: %v %q", group, err, out)
		}
	}
}

// TestAServiceManagerHoldsTheSocket starts the daemon by its first request, as systemd does.
func TestAServiceManagerHoldsTheSocket(t *testing.T) {
	if _, err := exec.LookPath("systemd-socket-activate"); err != nil {
		t.Skip("systemd-socket-activate (package systemd) is missing")
	}
	d := harness.Prepare(t)
	socket := d.Dir + "/unix.socket"
	var log bytes.Buffer
	cmd := exec.Command("nsenter", "--net=/run/netns/"+d.NS, "systemd-socket-activate", "--listen", socket, "--setenv=BERTH_DIR="+d.Dir, harness.Program("berthd"), "--verbose")
	cmd.Env, cmd.Stdout, cmd.Stderr = d.Environ(), &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	harness.Eventually(t, 10*time.Second, "the socket is there", func() bool { _, err := os.Stat(socket); return err == nil })
	if out := d.Berth("list", "--format", "csv"); out != "" {
		t.Errorf("list: %q", out)
	}
	if _, err := d.Try(harness.Program("berthd"), "shutdown"); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("berthd: %v\n%s", err, &log)
	}
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the socket belongs to the service manager and has gone: %v", err)
	}
}

func TestInstallAndUninstall(t *testing.T) {
	dest := t.TempDir()
	target := func(name string) {
		t.Helper()
		out, err := exec.Command("make", "-C", harness.Top(), "-o", "build", name, "DESTDIR="+dest, "PREFIX=/opt/berth").CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v\n%s", name, err, out)
		}
	}
	target("install")
	if out, err := exec.Command(dest+"/opt/berth/bin/berth", "--version").CombinedOutput(); err != nil {
		t.Errorf("installed berth: %v %s", err, out)
	}
	if unit, err := os.ReadFile(dest + "/etc/systemd/system/berth.service"); err != nil || !strings.Contains(string(unit), "ExecStart=/opt/berth/bin/berthd") {
		t.Errorf("unit: %v\n%s", err, unit)
	}
	t.Setenv("BERTH_BIN", dest+"/opt/berth/bin")
	t.Run("a container starts", func(t *testing.T) { // berth-lxc is found in libexec
		d := harness.New(t).Pool().Image()
		d.Berth("launch", "bb", "c1")
		d.Berth("delete", "--force", "c1")
	})
	target("uninstall")
	_ = filepath.WalkDir(dest, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			t.Errorf("left over: %s", path)
		}
		return err
	})
}
