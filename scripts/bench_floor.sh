#!/usr/bin/env bash
# Measures what liblxc and the kernel cost by themselves, with the plain tools of the package lxc: `make bench-floor`.
# A manager can only add to these figures.
#
#   FLOOR_RUNS   runs of each (default 20)
set -euo pipefail

for tool in lxc-start lxc-attach lxc-stop; do
    command -v $tool > /dev/null || { echo "bench-floor: $tool is not installed (Debian's package lxc)" >&2; exit 1; }
done
if [ "$(id -u)" != 0 ]; then
    echo "bench-floor: run it as root: containers need the kernel's help" >&2
    exit 1
fi
top=$(dirname "$(dirname "$(readlink -f "$0")")")
dir=$(mktemp -d /var/tmp/berth-floor.XXXXXX)
chmod 711 "$dir"
name=floor-$$
runs=${FLOOR_RUNS:-20}

down() {
    status=$?
    trap - EXIT INT TERM
    lxc-stop -P "$dir" -n "$name" -k > /dev/null 2>&1 || true
    rm -rf "$dir"
    exit $status
}
trap down EXIT INT TERM

# The image that Berth's tests use, unpacked.
mkdir -p "$dir/image" "$dir/$name"
chmod 711 "$dir/image" "$dir/$name"
"$top/bin/berth" image build busybox --output "$dir/bb.tar.gz" --compression gzip > /dev/null
tar -xf "$dir/bb.tar.gz" -C "$dir/image"
cp -a "$dir/image/rootfs" "$dir/$name/rootfs"
cat > "$dir/$name/config" << CONF
lxc.uts.name = $name
lxc.rootfs.path = dir:$dir/$name/rootfs
lxc.rootfs.options = idmap=container
lxc.idmap = u 0 100000 65536
lxc.idmap = g 0 100000 65536
lxc.mount.auto = proc:rw sys:rw cgroup:mixed
lxc.autodev = 1
lxc.tty.max = 0
lxc.pty.max = 1024
lxc.net.0.type = empty
CONF

# median LABEL FILE prints the middle one of the times in ms.
median() { sort -n "$2" | awk -v label="$1" '{ v[NR] = $1 } END { printf "%-44s %8.1f ms\n", label, v[int((NR + 1) / 2)] }'; }
# timed FILE COMMAND… adds how long the command took.
timed() {
    local out=$1 begin end
    shift
    begin=$(date +%s%N)
    "$@"
    end=$(date +%s%N)
    awk -v ns=$((end - begin)) 'BEGIN { print ns / 1e6 }' >> "$out"
}

for _ in $(seq "$runs"); do
    timed "$dir/none" true
    timed "$dir/copy" cp -a "$dir/image/rootfs" "$dir/copied"
    timed "$dir/remove" rm -rf "$dir/copied"
    timed "$dir/start" lxc-start -P "$dir" -n "$name" -d
    timed "$dir/attach" lxc-attach -P "$dir" -n "$name" --clear-env -- true
    timed "$dir/stop" lxc-stop -P "$dir" -n "$name" -k
done
median "cost of timing itself, contained in each" "$dir/none"
median "cp -a of the busybox root file system" "$dir/copy"
median "rm -rf of it" "$dir/remove"
median "lxc-start -d" "$dir/start"
median "lxc-attach -- true" "$dir/attach"
median "lxc-stop -k" "$dir/stop"
