package e2e

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/subvolume"
	"github.com/berthd/berth/test/harness"
)

// rootOf is the root file system of an instance in the default pool.
func rootOf(d *harness.Daemon, name string) string {
	return filepath.Join(d.Dir, "storage-pools/default/containers", name, "rootfs")
}

func try(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// holds fails unless a file of an instance has a content.
func holds(d *harness.Daemon, name, file, want string) {
	d.T.Helper()
	if got, err := os.ReadFile(filepath.Join(rootOf(d, name), file)); err != nil || string(got) != want {
		d.T.Errorf("%s: %s holds %q, %v; want %q", name, file, got, err, want)
	}
}

// What tar and PyYAML write in the course of a day was refused.
func TestImagesThatOthersMakeAreTaken(t *testing.T) {
	d := harness.New(t).Pool()
	src, out := unpacked(t), t.TempDir()
	metadata := filepath.Join(src, "metadata.yaml")
	original, err := os.ReadFile(metadata)
	try(t, err)
	pack := func(name string, flags ...string) string {
		t.Helper()
		file := filepath.Join(out, name+".tar")
		harness.Run(t, nil, "tar", append([]string{"-C", src, "--numeric-owner", "-cf", file}, append(flags, "metadata.yaml", "templates", "rootfs")...)...)
		return file
	}

	again := pack("again")
	try(t, os.WriteFile(filepath.Join(src, "rootfs/etc/issue"), []byte("second\n"), 0o644),
		os.WriteFile(metadata, bytes.Replace(original, []byte("os: BusyBox"), []byte("os: SecondBox"), 1), 0o644))
	harness.Run(t, nil, "tar", "-C", src, "-rf", again, "metadata.yaml", "rootfs/etc/issue", "rootfs/bin/busybox")
	try(t, os.WriteFile(metadata, original, 0o644))
	launchFrom(t, d, "again", again)
	d.Berth("image", "import", again, "--alias", "again")
	d.Berth("init", "again", "again")
	holds(d, "again", "etc/issue", "second\n")
	if got := d.Berth("config", "get", "again", "image.os") + d.Berth("config", "metadata", "show", "again"); !strings.HasPrefix(got, "SecondBox\n") || !strings.Contains(got, "os: SecondBox") {
		t.Errorf("of two metadata.yaml, the last does not count: %s", got)
	}

	end := pack("end", "-b1")
	info, err := os.Stat(end)
	try(t, err, os.Truncate(end, info.Size()-1024)) // the two end blocks
	launchFrom(t, d, "end", end)
	try(t, os.Truncate(end, info.Size()-1024-512*3-100))
	if got := d.BerthFails("image", "import", end); !strings.Contains(got, "cut short") {
		t.Errorf("cut within a member, it fails with %q", got)
	}

	try(t, os.WriteFile(metadata, append(bytes.SplitN(original, []byte("templates:"), 2)[0], []byte(`templates:
  /etc/a: {template: hostname.tpl, when: &id001 [create, copy]}
  /etc/b: {template: hostname.tpl, when: *id001}
`)...), 0o644))
	d.Berth("image", "import", pack("anchors"), "--alias", "anchors")
	d.Berth("launch", "anchors", "anchored")
	if got := d.Berth("exec", "anchored", "--", "cat", "/etc/a", "/etc/b"); got != "anchored\nanchored\n" {
		t.Errorf("the templates of a list and its alias made %q", got)
	}
}

func TestTheFilesOfASplitImageInTheWrongOrder(t *testing.T) {
	d := harness.New(t).Pool()
	src, out := unpacked(t), t.TempDir()
	meta, root, squashed := filepath.Join(out, "meta.tar.gz"), filepath.Join(out, "root.tar.gz"), filepath.Join(out, "root.squashfs")
	harness.Run(t, nil, "tar", "-C", src, "-czf", meta, "metadata.yaml", "templates")
	harness.Run(t, nil, "tar", "-C", filepath.Join(src, "rootfs"), "-czf", root, ".")
	harness.Run(t, nil, "mksquashfs", filepath.Join(src, "rootfs"), squashed, "-quiet", "-no-progress")
	for _, file := range []string{root, squashed} {
		begun := time.Now()
		got := d.BerthFails("image", "import", file, meta)
		if !strings.Contains(got, "missing metadata.yaml") || !strings.Contains(got, `"meta.tar.gz"`) || !strings.Contains(got, filepath.Base(file)) {
			t.Errorf("it fails with %q", got)
		}
		if took := time.Since(begun); took > harness.Slow(10*time.Second) {
			t.Errorf("that took %s", took)
		}
	}
	if got, err := os.ReadDir(filepath.Join(d.Dir, "images")); err != nil || len(got) > 0 {
		t.Errorf("left: %v, %v", got, err)
	}
	launchFrom(t, d, "right", meta, squashed)
}

// publishAs publishes c1 and makes an instance of the image, of the same name.
func publishAs(d *harness.Daemon, name string, flags ...string) {
	d.T.Helper()
	d.Berth(append([]string{"publish", "c1", "--alias", name}, flags...)...)
	d.Berth("init", name, name)
}

func TestWhatIsPublishedLaunches(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1", "-c", "security.privileged=true")
	d.Berth("exec", "c1", "--", "mknod", "/root/sda", "b", "8", "0")
	d.Berth("stop", "--force", "c1")
	root := rootOf(d, "c1")
	deep := filepath.Join(root, "root", strings.Repeat("d/", 250))
	try(t, os.MkdirAll(deep, 0o755), os.WriteFile(filepath.Join(deep, "file"), []byte("deep"), 0o644))
	posixACL(t, filepath.Join(root, "etc/hosts"), 33)
	lastlog, err := os.Create(filepath.Join(root, "lastlog"))
	try(t, err)
	_, err = lastlog.WriteAt([]byte("somebody"), 1<<30)
	try(t, err, lastlog.Truncate(3<<30), lastlog.Close())

	for _, c := range []string{"zstd", "xz", "bzip2", "squashfs"} {
		publishAs(d, c, "--compression", c)
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(rootOf(d, c), "lastlog"), &st); err != nil || st.Size != 3<<30 || st.Blocks*512 > 1<<20 {
			t.Errorf("%s: of 3 GiB without content, %d are %d blocks, %v", c, st.Size, st.Blocks, err)
		}
		holds(d, c, "root/"+strings.Repeat("d/", 250)+"file", "deep")
		if _, err := os.Lstat(filepath.Join(rootOf(d, c), "root/sda")); !os.IsNotExist(err) {
			t.Errorf("%s: the device node: %v", c, err)
		}
		if c != "squashfs" {
			if got := aclUser(t, filepath.Join(rootOf(d, c), "etc/hosts")); got != 33 {
				t.Errorf("%s: the ACL names %d", c, got)
			}
		}
		// What its metadata says, and what it says itself.
		if got, want := imageKeys(d, c), imageKeys(d, "c1"); got != want || !strings.Contains(got, "image.os: BusyBox") {
			t.Errorf("%s: it has %s, want %s", c, got, want)
		}
		d.Berth("start", c)
		d.Berth("delete", "--force", c)
	}
	for _, said := range []string{"etc/hosts: this format cannot hold system.posix_acl_access", "rootfs/root/sda"} {
		if !strings.Contains(d.Log(), said) {
			t.Errorf("the log does not say %q", said)
		}
	}
	d.Berth("config", "set", "c1", "image.description", "mine")
	publishAs(d, "changed")
	if got := d.Berth("config", "get", "changed", "image.description"); got != "mine\n" {
		t.Errorf("its description is %q", got)
	}
	publishAs(d, "given", "k=v")
	if got := imageKeys(d, "given"); got != "image.k: v" {
		t.Errorf("with a property given it has %s", got)
	}
	d.Stock("publish", "c1", "--alias", "stock")
	if got := d.Stock("image", "info", "stock"); !strings.Contains(got, "os: BusyBox") {
		t.Errorf("of the stock client: %s", got)
	}
}

// imageKeys are the image.* keys of an instance.
func imageKeys(d *harness.Daemon, name string) string {
	d.T.Helper()
	var keys []string
	for _, line := range strings.Split(d.Berth("config", "show", name), "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "image.") {
			keys = append(keys, line)
		}
	}
	return strings.Join(keys, "\n")
}

// A subvolume that docker or somebody made inside was an empty folder in the image, without a word.
func TestNestedSubvolumesArePublished(t *testing.T) {
	top := loopfs.Mount(t, "btrfs")
	try(t, os.Chmod(top, 0o711), os.Chmod(filepath.Dir(top), 0o711), os.Mkdir(filepath.Join(top, "pool"), 0o711))
	d := harness.Prepare(t)
	d.Start("BERTH_IDMAPPED_MOUNTS_DISABLE=1")
	d.Pool().Image()
	d.Berth("storage", "create", "bt", "dir", "source="+filepath.Join(top, "pool"))
	t.Cleanup(func() {
		d.Berth("delete", "--force", "c1")
		d.Berth("storage", "delete", "bt")
	})
	d.Berth("init", "bb", "c1", "--storage", "bt")
	root := filepath.Join(top, "pool/containers/c1/rootfs")
	for _, name := range []string{"srv", "srv/frozen"} {
		try(t, os.RemoveAll(filepath.Join(root, name)), subvolume.FS{}.Make(filepath.Join(root, name)), os.WriteFile(filepath.Join(root, name, "file"), []byte(name), 0o644),
			os.Chown(filepath.Join(root, name, "file"), 33, 33))
	}
	try(t, subvolume.FS{}.Freeze(filepath.Join(root, "srv/frozen")))
	d.Berth("start", "c1") // which shifts the owners
	if got := d.Berth("exec", "c1", "--", "stat", "-c", "%u", "/srv/file", "/srv/frozen/file"); got != "33\n33\n" {
		t.Errorf("inside, the files belong to %q", got)
	}
	d.Berth("stop", "--force", "c1")
	d.Berth("publish", "c1", "--alias", "made")
	d.Berth("init", "made", "c2")
	for _, name := range []string{"srv", "srv/frozen"} {
		holds(d, "c2", name+"/file", name)
		if got := onDisk(d, "c2", name+"/file"); got != 33 {
			t.Errorf("%s/file belongs to %d in the image", name, got)
		}
	}
}

// ext4 holds no more than a block of attributes; the image was refused for one, as if the disk were full.
func TestAnAttributeThatThePoolCannotHold(t *testing.T) {
	small := t.TempDir()
	disk(t, small)
	d := harness.New(t).Pool()
	d.Berth("storage", "create", "small", "dir", "source="+small)
	t.Cleanup(func() {
		d.Berth("delete", "c1")
		d.Berth("storage", "delete", "small")
	})
	d.Berth("image", "import", hostileImage{more: []tar.Header{
		{Name: "rootfs/etc/large", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.large": strings.Repeat("v", 8000)}},
		{Name: "rootfs/etc/small", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.small": "v"}},
	}}.write(t), "--alias", "attributes")
	d.Berth("init", "attributes", "c1", "--storage", "small")
	buf := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(small, "containers/c1/rootfs/etc/small"), "user.small", buf); err != nil || string(buf[:n]) != "v" {
		t.Errorf("the attribute that fits: %q, %v", buf[:max(n, 0)], err)
	}
	if !strings.Contains(d.Log(), "rootfs/etc/large: attribute user.large cannot be kept") {
		t.Errorf("the log does not say it: %s", d.Log())
	}
}

// What the host's users could reach of images and instances.
func TestModesOfImagesAndInstancesOnTheHost(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	d.Berth("publish", "c1", "--alias", "made")
	images, err := filepath.Glob(filepath.Join(d.Dir, "images/*"))
	if err != nil || len(images) != 2 {
		t.Fatalf("images: %v, %v", images, err)
	}
	pool := filepath.Join(d.Dir, "storage-pools/default")
	for path, want := range map[string]os.FileMode{
		filepath.Join(d.Dir, "images"): 0o700, pool: 0o711, filepath.Join(pool, "containers"): 0o711, filepath.Join(pool, "images"): 0o700,
		filepath.Join(pool, "containers/c1"): 0o100, filepath.Join(pool, "containers/c1/rootfs"): 0o755, images[0]: 0o644, images[1]: 0o644,
	} {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || os.FileMode(st.Mode&0o7777) != want || st.Uid != 0 || st.Gid != 0 {
			t.Errorf("%s has mode %o and belongs to %d:%d, %v; want %o", path, st.Mode&0o7777, st.Uid, st.Gid, err, want)
		}
	}
}
