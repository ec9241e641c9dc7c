package build

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/image"
)

// initApplets are links that are not applets of their own name, or that busybox leaves out of its list.
var initApplets = []string{"sbin/init", "bin/sh"}

// inittab starts little: the network, once. The signals that stop a container (SIGPWR, SIGUSR2) are busybox's own.
const inittab = `::sysinit:/etc/init.d/rcS
::once:/etc/init.d/network
::shutdown:/etc/init.d/rcK
::ctrlaltdel:/sbin/poweroff
::restart:/sbin/init
console::askfirst:-/bin/sh
`

const rcS = `#!/bin/sh
[ -s /etc/hostname ] && hostname -F /etc/hostname
rm -f /run/reboot
ip link set lo up
`

// rcK ends everything and then the system. busybox's own way does the same with a second's sleep after each of three steps.
const rcK = `#!/bin/sh
kill -TERM -1
left=50
while [ $left -gt 0 ]; do
	others=0
	for process in /proc/[0-9]*; do
		case "$process" in
		/proc/1 | /proc/$$) ;;
		*) others=1 ;;
		esac
	done
	[ $others = 0 ] && break
	left=$((left - 1))
	usleep 20000
done
sync
[ -e /run/reboot ] && exec busybox reboot -f
exec busybox poweroff -f
`

// rebootScript leaves word for rcK, which runs the same way for a reboot.
const rebootScript = `#!/bin/sh
: > /run/reboot
exec busybox reboot "$@"
`

const networkScript = `#!/bin/sh
[ -e /sys/class/net/eth0 ] || exit 0
ip link set eth0 up
exec udhcpc -f -S -i eth0 -t 5 -T 1 -A 2 -x hostname:"$(hostname)" -s /usr/share/udhcpc/default.script
`

const dhcpScript = `#!/bin/sh
case "$1" in
deconfig)
	ip addr flush dev "$interface" scope global
	ip link set "$interface" up
	;;
bound|renew)
	ip addr flush dev "$interface" scope global
	ip addr add "$ip/$mask" dev "$interface"
	for gateway in $router; do
		ip route replace default via "$gateway" dev "$interface"
		break
	done
	{
		[ -n "$domain" ] && echo "search $domain"
		for server in $dns; do
			echo "nameserver $server"
		done
	} > /etc/resolv.conf
	;;
esac
exit 0
`

// busybox writes a unified image around the host's static busybox. It needs no network and no root.
func busybox(w io.Writer, o Options) error {
	program, applets, err := hostBusybox()
	if err != nil {
		return err
	}
	o.say("Packing busybox with %d applets", len(applets))
	m, err := metadata(map[string]string{"os": "BusyBox", "release": "host", "variant": "default", "name": "busybox", "description": "BusyBox of this host"})
	if err != nil {
		return err
	}
	m.Properties["description"] = "BusyBox " + m.Architecture
	now := time.Now()
	tw := tar.NewWriter(w)
	if err := tarHead(tw, m, now); err != nil {
		return err
	}
	t := &tree{tw: tw, now: now}
	busyboxTree(t, program, applets)
	if t.err != nil {
		return t.err
	}
	return tw.Close()
}

func tarHead(tw *tar.Writer, m *api.ImageMetadata, now time.Time) error {
	text, err := image.EncodeMetadata(m)
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, data string }{
		{"metadata.yaml", string(text)},
		{"templates/hostname.tpl", templates["hostname.tpl"]},
		{"templates/hosts.tpl", templates["hosts.tpl"]},
	} {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: now}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, f.data); err != nil {
			return err
		}
	}
	return nil
}

func busyboxTree(t *tree, program string, applets []string) {
	t.add(tar.Header{Typeflag: tar.TypeDir, Name: "", Mode: 0o755}, "")
	for _, dir := range []string{
		"bin", "dev", "etc", "etc/init.d", "etc/network", "home", "mnt", "proc", "run", "sbin", "sys", "usr", "usr/bin", "usr/sbin",
		"usr/share", "usr/share/udhcpc", "var", "var/log", "var/lib",
	} {
		t.dir(dir, 0o755)
	}
	t.dir("root", 0o700)
	t.dir("tmp", 0o1777)
	t.dir("var/tmp", 0o1777)
	t.file("bin/busybox", 0o755, program)
	for _, applet := range applets {
		if applet == "sbin/reboot" {
			t.file(applet, 0o755, rebootScript)
			continue
		}
		t.link(applet, "/bin/busybox")
	}
	t.file("etc/init.d/rcK", 0o755, rcK)
	t.file("etc/inittab", 0o644, inittab)
	t.file("etc/init.d/rcS", 0o755, rcS)
	t.file("etc/init.d/network", 0o755, networkScript)
	t.file("usr/share/udhcpc/default.script", 0o755, dhcpScript)
	t.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n")
	t.file("etc/group", 0o644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
	t.file("etc/shadow", 0o640, "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n")
	t.file("etc/hostname", 0o644, "busybox\n")
	t.file("etc/hosts", 0o644, "127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	t.file("etc/resolv.conf", 0o644, "")
	t.file("etc/fstab", 0o644, "")
	t.file("etc/os-release", 0o644, "ID=busybox\nNAME=BusyBox\nPRETTY_NAME=BusyBox\n")
}

// hostBusybox reads the host's busybox and lists its applets by the path each wants to be found at.
func hostBusybox() (program string, applets []string, err error) {
	for _, name := range []string{"/bin/busybox", "/usr/bin/busybox", "/bin/busybox-static", "/usr/lib/busybox/busybox-static"} {
		data, err := os.ReadFile(name)
		if err != nil || !isStatic(data) {
			continue
		}
		list, err := exec.Command(name, "--list-full").Output()
		if err != nil {
			return "", nil, fmt.Errorf("list busybox applets: %w", err)
		}
		return string(data), appletPaths(string(list)), nil
	}
	return "", nil, errors.New("no static busybox on this machine (Debian package busybox-static)")
}

func appletPaths(list string) []string {
	found := map[string]bool{}
	for _, line := range append(strings.Fields(list), initApplets...) {
		name := path.Clean(line)
		dir, base := path.Split(name)
		switch dir {
		case "bin/", "sbin/", "usr/bin/", "usr/sbin/":
		default:
			name = "bin/" + base // such as linuxrc, which wants to stand at the top
		}
		if base != "busybox" && !strings.HasPrefix(name, ".") {
			found[name] = true
		}
	}
	paths := make([]string, 0, len(found))
	for name := range found {
		paths = append(paths, name)
	}
	sort.Strings(paths)
	return paths
}
