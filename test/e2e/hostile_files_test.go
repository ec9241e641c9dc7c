package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

// hostileImage is an image as a stranger may make it.
type hostileImage struct {
	metadata string // beside what every image has
	template string // of /etc/made
	more     []tar.Header
	content  []byte // of rootfs/bin/big, several times over
	times    int
	gzip     bool
}

// write puts the image into a file and gives its path.
func (i hostileImage) write(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	add := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	metadata := "architecture: x86_64\ncreation_date: 1700000000\n" + i.metadata
	if i.template != "" {
		metadata += "templates:\n  /etc/made:\n    when: [create]\n    template: t.tpl\n"
	}
	add(tar.Header{Name: "metadata.yaml", Typeflag: tar.TypeReg}, []byte(metadata))
	if i.template != "" {
		add(tar.Header{Name: "templates/t.tpl", Typeflag: tar.TypeReg}, []byte(i.template))
	}
	for _, dir := range []string{"rootfs", "rootfs/etc", "rootfs/dev", "rootfs/sbin", "rootfs/bin"} {
		add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir}, nil)
	}
	for _, h := range i.more {
		add(h, nil)
	}
	for n := range i.times {
		add(tar.Header{Name: fmt.Sprintf("rootfs/bin/big%d", n), Typeflag: tar.TypeReg}, i.content)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image")
	data := b.Bytes()
	if i.gzip {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data = z.Bytes()
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// peak is the most memory that the daemon has had, in bytes.
func peak(d *harness.Daemon) int {
	d.T.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil {
		d.T.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		d.T.Fatal(err)
	}
	return kib << 10
}

// A template that doubled a string forty times ended the daemon.
func TestHostileTemplatesEndTheirStartAndNothingElse(t *testing.T) {
	d := harness.New(t).Pool()
	for name, c := range map[string]struct{ template, want string }{
		"doubles":  {"{% set a = \"xxxxxxxxxxxxxxxx\" %}" + strings.Repeat("{% set a = a + a %}", 40) + "{{ a }}", "templates take more than"}, // memory, or CPU time where that is emulated
		"recurses": {"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "memory"},
		"spins":    {loops("", 9000, 3), "templates take"},
		"floods":   {loops(strings.Repeat("y", 4000), 4000, 1), "prints more"},
		"reads":    {"{% include \"/etc/shadow\" %}", "sandbox"},
	} {
		t.Run(name, func(t *testing.T) {
			d.Berth("image", "import", hostileImage{template: c.template}.write(t), "--alias", name)
			d.Berth("init", name, name)
			begun := time.Now()
			if got := d.BerthFails("start", name); !strings.Contains(got, c.want) || len(got) > 2000 {
				t.Errorf("the start fails with %q, want %q", got, c.want)
			}
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("that took %s", took)
			}
			if got := strings.TrimSpace(d.Berth("list", "-c", "s", "--format", "csv", name)); got != "STOPPED" {
				t.Errorf("its state is %q", got)
			}
			d.Berth("delete", name)
			d.Berth("image", "delete", name)
		})
	}
	if got := peak(d); got > 200<<20 {
		t.Errorf("the daemon took %d MiB", got>>20)
	}
}

// loops prints what is inside, with so many turns in each of so many loops.
func loops(inside string, turns, depth int) string {
	for range depth {
		inside = "{% for a in \"" + strings.Repeat("x", turns) + "\" %}" + inside + "{% endfor %}"
	}
	return inside
}

func TestDeviceNodesOfAnImageAreLeftOut(t *testing.T) {
	d := harness.New(t).Pool()
	d.Berth("image", "import", hostileImage{more: []tar.Header{
		{Name: "rootfs/dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8, Mode: 0o666},
		{Name: "rootfs/dev/mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1, Mode: 0o666},
		{Name: "rootfs/dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666},
	}}.write(t), "--alias", "nodes")
	for _, privileged := range []string{"true", "false"} {
		d.Berth("init", "nodes", "c1", "-c", "security.privileged="+privileged)
		entries, err := os.ReadDir(filepath.Join(d.Dir, "storage-pools/default/containers/c1/rootfs/dev"))
		if err != nil || len(entries) != 1 || entries[0].Name() != "null" {
			t.Errorf("privileged %s: /dev has %v, %v", privileged, entries, err)
		}
		d.Berth("delete", "c1")
	}
	if !strings.Contains(d.Log(), "Device nodes of an image are left out") {
		t.Error("the log does not say so")
	}
}

// disk mounts a file system of 64 MiB at dir.
func disk(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	harness.Run(t, nil, "truncate", "-s", "64M", file)
	harness.Run(t, nil, "mkfs.ext4", "-q", "-F", file)
	harness.Run(t, nil, "mount", "-o", "loop", file, dir)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	harness.Run(t, nil, "rmdir", filepath.Join(dir, "lost+found"))
}

func available(t *testing.T, dir string) int64 {
	t.Helper()
	unixSync(t, dir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

func unixSync(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}

func TestNoImageFillsAPool(t *testing.T) {
	small := t.TempDir()
	disk(t, small)
	d := harness.New(t).Pool()
	d.Berth("storage", "create", "small", "dir", "source="+small)
	t.Cleanup(func() { _, _ = d.Try(harness.Program("berth"), "storage", "delete", "small") })
	bomb := hostileImage{content: bytes.Repeat([]byte("berth "), 1<<20), times: 20, gzip: true}.write(t)
	if info, err := os.Stat(bomb); err != nil || info.Size() > 2<<20 {
		t.Fatal(info.Size(), err)
	}
	d.Berth("image", "import", bomb, "--alias", "bomb")
	before := available(t, small)
	got := d.BerthFails("init", "bomb", "c1", "--storage", "small")
	if !strings.Contains(got, "no space") || !strings.Contains(got, `storage pool "small"`) || !strings.Contains(got, "reserve") {
		t.Errorf("it fails with %q", got)
	}
	if after := available(t, small); after < before-1<<20 {
		t.Errorf("%d bytes are left behind", before-after)
	}
	for _, kind := range []string{"containers", "images"} {
		if left, err := os.ReadDir(filepath.Join(small, kind)); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", kind, left, err)
		}
	}
	if got := d.Berth("list", "--format", "csv"); got != "" {
		t.Errorf("left: %s", got)
	}
	if got := d.BerthFails("init", "bomb", "c1", "-d", "root,size=10MiB"); !strings.Contains(got, "limit of 10 MiB") {
		t.Errorf("over the root disk's size it fails with %q", got)
	}
	d.Berth("init", "bomb", "c1") // where there is room
	for range 2 {
		if got := d.BerthFails("init", "bomb", "c2", "-d", "root,size=10MiB"); !strings.Contains(got, "limit of 10 MiB") {
			t.Errorf("with the image unpacked already, it fails with %q", got)
		}
		d.Restart() // the daemon does not know any more how large it is
	}
	d.Berth("init", "bomb", "c2", "-d", "root,size=1GiB")
}

func TestNoUploadFillsTheImagesFolder(t *testing.T) {
	d := harness.Prepare(t)
	images := filepath.Join(d.Dir, "images")
	if err := os.Mkdir(images, 0o700); err != nil {
		t.Fatal(err)
	}
	disk(t, images)
	d.Start()
	noise := make([]byte, 4<<20)
	_, _ = rand.Read(noise)
	got := d.BerthFails("image", "import", hostileImage{content: noise, times: 18}.write(t))
	if !strings.Contains(got, "no space") || !strings.Contains(got, "reserve") {
		t.Errorf("it fails with %q", got)
	}
	harness.Eventually(t, 10*time.Second, "nothing is left of the upload", func() bool {
		left, err := os.ReadDir(images)
		return err == nil && len(left) == 0
	})
	// The test's end takes away what it has mounted before the daemon's folder goes.
	d.T.Cleanup(func() { _ = unix.Unmount(images, unix.MNT_DETACH) })
}

func TestSquashfsAndXzImages(t *testing.T) {
	d := harness.New(t).Pool()
	root := filepath.Join(t.TempDir(), "root.squashfs")
	tarball := hostileImage{}.write(t)
	cmd := exec.Command("tar2sqfs", "-r", "rootfs", root)
	data, err := os.ReadFile(tarball)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar2sqfs: %v\n%s", err, out)
	}
	harness.Run(t, nil, "xz", "-k", tarball)
	d.Berth("image", "import", tarball+".xz", root, "--alias", "split")
	d.Berth("init", "split", "c1")
	if _, err := os.Stat(filepath.Join(d.Dir, "storage-pools/default/containers/c1/rootfs/sbin")); err != nil {
		t.Error(err)
	}
	d.Berth("publish", "c1", "--compression", "squashfs", "--alias", "made")
	d.Berth("init", "made", "c2")
	if _, err := os.Stat(filepath.Join(d.Dir, "storage-pools/default/containers/c2/rootfs/sbin")); err != nil {
		t.Error(err)
	}
}

// posixACL gives a file an ACL for one more user.
func posixACL(t *testing.T, path string, uid uint32) {
	t.Helper()
	raw := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 6, ^uint32(0)}, {0x02, 4, uid}, {0x04, 4, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		raw = binary.LittleEndian.AppendUint16(raw, e.tag)
		raw = binary.LittleEndian.AppendUint16(raw, e.perm)
		raw = binary.LittleEndian.AppendUint32(raw, e.id)
	}
	if err := unix.Setxattr(path, "system.posix_acl_access", raw, 0); err != nil {
		t.Fatal(err)
	}
}

// aclUser is the user that a file's ACL names.
func aclUser(t *testing.T, path string) uint32 {
	t.Helper()
	buf := make([]byte, 100)
	n, err := unix.Getxattr(path, "system.posix_acl_access", buf)
	if err != nil || n < 20 {
		t.Fatalf("%s: %d bytes, %v", path, n, err)
	}
	return binary.LittleEndian.Uint32(buf[16:])
}

// Inside, the users of ACLs were 4294967295.
func TestACLsAreShiftedWhereMountsCannotBeMapped(t *testing.T) {
	d := harness.Prepare(t)
	d.Start("BERTH_IDMAPPED_MOUNTS_DISABLE=1")
	d.Pool().Image()
	d.Berth("init", "bb", "c1")
	file := func(name string) string {
		return filepath.Join(d.Dir, "storage-pools/default/containers", name, "rootfs/etc/hosts")
	}
	posixACL(t, file("c1"), 33)
	d.Berth("start", "c1")
	if got, want := aclUser(t, file("c1")), onDisk(d, "c1", "bin/busybox")+33; got != want {
		t.Errorf("on disk the ACL names %d, want %d", got, want)
	}
	d.Berth("stop", "--force", "c1")
	d.Berth("publish", "c1", "--alias", "made")
	d.Berth("init", "made", "c2")
	if got := aclUser(t, file("c2")); got != 33 {
		t.Errorf("in an image of it the ACL names %d", got)
	}
	d.Berth("config", "set", "c1", "security.privileged", "true")
	d.Berth("start", "c1")
	if got := aclUser(t, file("c1")); got != 33 {
		t.Errorf("back from the map the ACL names %d", got)
	}
}
