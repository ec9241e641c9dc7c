package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/archive"
)

// packages are what a system container needs beyond the smallest Debian: an init, a bus, and addresses by DHCP. udev is
// among them because networkd waits for it wherever /sys can be written to.
var packages = []string{"systemd", "systemd-sysv", "udev", "dbus", "iproute2", "iputils-ping", "netbase", "procps"}

// variants are what may be asked for, the smallest first.
var variants = map[string]bool{"minbase": true, "buildd": true, "important": true, "standard": true}

// masked are units that have nothing to do in a container or that fail there for want of privilege, so that
// systemd's state becomes "running" and not "degraded".
var masked = []string{
	"sys-kernel-debug.mount", "sys-kernel-config.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
	"dev-hugepages.mount", "systemd-journald-audit.socket", "systemd-networkd-wait-online.service", "systemd-modules-load.service",
	"e2scrub_reap.service", "fstrim.timer",
}

const networkFile = `[Match]
Name=eth0

[Network]
DHCP=yes
LinkLocalAddressing=ipv6
IPv6AcceptRA=yes

[DHCPv4]
ClientIdentifier=mac
UseDomains=yes
`

// debian writes a unified image of a Debian made with mmdebstrap or debootstrap.
func debian(ctx context.Context, w io.Writer, release string, o Options) error {
	if os.Geteuid() != 0 {
		return errNoRoot
	}
	code, number, err := codename(release)
	if err != nil {
		return err
	}
	if o.Variant == "" {
		o.Variant = "minbase"
	}
	if !variants[o.Variant] {
		return fmt.Errorf("variant %q is not one of minbase, buildd, important, standard", o.Variant)
	}
	sources, err := debianSources(code, o.Mirror)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "berth-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "rootfs")
	if err := bootstrap(ctx, root, code, sources, o); err != nil {
		return err
	}
	o.say("Preparing the system for a container")
	if err := prepare(root, sources); err != nil {
		return fmt.Errorf("prepare %s: %w", code, err)
	}
	o.say("Packing the image")
	p := archive.NewPacker(ctx, w)
	p.NoACLs = !o.Compression.ACLs()
	err = writeHead(p, map[string]string{
		"os": "Debian", "release": code, "version": number, "variant": o.Variant, "name": "debian-" + code,
		"description": fmt.Sprintf("Debian %s (%s) %s", number, code, o.Variant),
	})
	if err == nil {
		err = p.AddTree(root, "rootfs")
	}
	if err == nil {
		err = p.Close()
	}
	if err == nil && p.Omitted.Count() > 0 {
		o.say("The image lacks what could not be packed: %s", &p.Omitted)
	}
	return err
}

var mirrorURL = regexp.MustCompile(`^(https?|file)://[^\s"'\[\]]+$`)

func debianSources(code, mirror string) ([]source, error) {
	if mirror == "" {
		return aptSources("/etc/apt", code)
	}
	if !mirrorURL.MatchString(mirror) {
		return nil, fmt.Errorf("mirror %q is not a URL", mirror)
	}
	return []source{{uri: mirror, suite: code, components: "main"}}, nil
}

// bootstrap makes the root file system, with mmdebstrap (about twice as fast) where there is one.
func bootstrap(ctx context.Context, root, code string, sources []source, o Options) error {
	include := append([]string(nil), packages...)
	if code != "bullseye" {
		include = append(include, "systemd-resolved") // a package of its own since Debian 12
	}
	if path, err := exec.LookPath("mmdebstrap"); err == nil {
		args := []string{
			"--mode=root", "--variant=" + o.Variant, "--format=directory", "--include=" + strings.Join(include, ","),
			"--dpkgopt=force-unsafe-io", "--skip=cleanup/reproducible", "--", code, root,
		}
		for _, s := range sources {
			args = append(args, s.line())
		}
		return run(ctx, o, path, args...)
	}
	path, err := exec.LookPath("debootstrap")
	if err != nil {
		return errors.New("neither mmdebstrap nor debootstrap is here (Debian package mmdebstrap)")
	}
	args := []string{"--include=" + strings.Join(include, ",")}
	if o.Variant == "minbase" || o.Variant == "buildd" {
		args = append(args, "--variant="+o.Variant)
	}
	if sources[0].signedBy != "" {
		args = append(args, "--keyring="+sources[0].signedBy)
	}
	return run(ctx, o, path, append(args, "--", code, root, sources[0].uri)...)
}

// run runs a bootstrap program and passes its lines on as progress; when it fails, its last lines say why.
func run(ctx context.Context, o Options, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	cmd.Env = append(cmd.Env, aptProxy()...)
	// Interrupted, it is asked to stop first: it has mounts to take away.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		in.Close()
		return err
	}
	in.Close()
	var last []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || isNoise(line) {
			continue
		}
		if text, ok := strings.CutPrefix(line, "I: "); ok {
			o.say("%s", text)
		} else if o.Detail != nil {
			o.Detail(line)
		}
		if last = append(last, line); len(last) > 8 {
			last = last[1:]
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), err, strings.Join(last, "\n"))
	}
	return nil
}

// isNoise tells lines that only redraw a bar.
func isNoise(line string) bool {
	return strings.HasPrefix(line, "(Reading database") || strings.HasPrefix(line, "[") || strings.HasPrefix(line, "Reading ")
}

// aptProxy gives this machine's proxy for apt as environment, unless the environment has one.
func aptProxy() []string {
	var env []string
	for _, scheme := range []string{"http", "https"} {
		if os.Getenv(scheme+"_proxy") != "" {
			continue
		}
		value, err := exec.Command("apt-config", "dump", "--format", "%v", "Acquire::"+scheme+"::Proxy").Output()
		if text := strings.TrimSpace(string(value)); err == nil && text != "" && text != "DIRECT" {
			env = append(env, scheme+"_proxy="+text)
		}
	}
	return env
}

// prepare turns a bootstrapped Debian into a system container's root: network, masks, no identity of its own.
func prepare(dir string, sources []source) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var list bytes.Buffer
	for _, s := range sources {
		fmt.Fprintln(&list, s.line())
	}
	for _, f := range []struct{ name, data string }{
		{"etc/systemd/network/eth0.network", networkFile},
		{"etc/apt/sources.list", list.String()},
		{"etc/machine-id", ""}, // empty: made anew at each instance's first start, without the questions of a first boot
		{"etc/hostname", "debian\n"},
		{"etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"},
		{"etc/fstab", ""},
	} {
		if err := root.WriteFile(f.name, []byte(f.data), 0o644); err != nil {
			return err
		}
	}
	links := map[string]string{
		"etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
		"etc/systemd/system/sockets.target.wants/systemd-networkd.socket":     "/lib/systemd/system/systemd-networkd.socket",
		"etc/systemd/system/dbus-org.freedesktop.network1.service":            "/lib/systemd/system/systemd-networkd.service",
		"etc/systemd/system/multi-user.target.wants/systemd-resolved.service": "/lib/systemd/system/systemd-resolved.service",
		"etc/systemd/system/dbus-org.freedesktop.resolve1.service":            "/lib/systemd/system/systemd-resolved.service",
		"etc/resolv.conf":                   "/run/systemd/resolve/stub-resolv.conf",
		"etc/systemd/system/default.target": "/lib/systemd/system/multi-user.target",
	}
	for _, unit := range masked {
		links["etc/systemd/system/"+unit] = "/dev/null"
	}
	for name, target := range links {
		if err := relink(root, name, target); err != nil {
			return err
		}
	}
	return clean(root)
}

func relink(root *os.Root, name, target string) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.Symlink(target, name)
}

// clean takes away what the bootstrap left: caches, logs, identity, settings that were for the build alone.
func clean(root *os.Root) error {
	for _, name := range []string{
		"var/lib/dbus/machine-id", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/apt/apt.conf.d/99mmdebstrap", "var/log/bootstrap.log",
		"var/log/dpkg.log", "var/log/apt", "var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin", "etc/ssh/ssh_host_keys",
	} {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	for _, dir := range []string{"var/cache/apt/archives", "var/lib/apt/lists", "tmp", "dev"} {
		if err := emptyDir(root, dir); err != nil {
			return err
		}
	}
	return nil
}

// emptyDir removes what is in a folder: of /dev too, which every container gets anew.
func emptyDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	for _, name := range names {
		err = errors.Join(err, root.RemoveAll(filepath.Join(dir, name)))
	}
	return err
}
