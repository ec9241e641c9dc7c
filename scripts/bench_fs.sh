#!/usr/bin/env bash
# Measures create, start, snapshot, copy and delete of a Debian 12 container on ext4, btrfs and xfs, on a loop device each, with LXD and its
# `dir` pool beside Berth and its own: `make bench-fs`. Needs Debian's lxd and the side-by-side bench beside the project
# (../shared/bench). Everything that was made is removed at the end, after Ctrl-C too.
#
#   BENCH_FS       file systems (default "ext4 btrfs xfs")
#   BENCH_IMAGE    unified tarball of a Debian 12 image (default: one is built, which needs a mirror)
#   BENCH_ARGS     more arguments for bench.py (default "--samples 8")
#   BENCH_JSON     folder that gets all samples, one file per file system
#   BENCH_TOOLS    folder of bench.py and start_peer.sh (default: ../shared/bench)
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
# shellcheck source=scripts/bench_lib.sh
. "$top/scripts/bench_lib.sh"
bench=${BENCH_TOOLS:-$(dirname "$top")/shared/bench}
say() { echo "bench-fs: $*" >&2; }
for tool in python3 lxd lxc; do
    command -v $tool > /dev/null || { say "$tool is not installed"; exit 1; }
done
[ -e "$bench/bench.py" ] || { say "$bench/bench.py is not there"; exit 1; }

work=$(mktemp -d /var/tmp/berth-bench-fs.XXXXXX)
chmod 711 "$work"
json=${BENCH_JSON:-$work}
at=$work/mnt
export BERTH_CONF=$work/client
mkdir -p "$at" "$json" "$BERTH_CONF"

# put_down ends both daemons and takes their file system away; it does what there is to do, and fails if something holds the file system.
put_down() {
    if [ -d "$at/lxd" ]; then
        lxd=$(cat "$at/lxd.pid" 2> /dev/null || true)
        "$bench/start_peer.sh" destroy lxd "$at/lxd" || true
        [ -z "$lxd" ] || gone "$lxd"
    fi
    daemon_down "$work"
    if mountpoint -q "$at"; then
        umount "$at" || { say "$at is still in use, and stays"; return 1; }
    fi
    rm -f "$work/image"
}
down() {
    status=$?
    trap - EXIT INT TERM
    if put_down; then rm -rf "$work"; else status=1; fi
    exit $status
}
trap down EXIT
trap 'exit 130' INT TERM

# put_up KIND makes a file system, and starts both daemons with their folders on it.
put_up() {
    truncate -s 24G "$work/image"
    case $1 in
    ext4) mkfs.ext4 -q -F "$work/image" ;;
    *) "mkfs.$1" -q "$work/image" ;;
    esac
    mount -o loop "$work/image" "$at"
    daemon_up "$work" "$at/berth"
    berth image import "$BENCH_IMAGE" --alias d12
    "$bench/start_peer.sh" start lxd "$at/lxd" > /dev/null
    LXD_DIR=$at/lxd LXD_CONF=$at/lxd.client lxc image import "$BENCH_IMAGE" --alias d12
}

export BB_IMAGE=$work/bb.tar.gz
berth image build busybox --output "$BB_IMAGE" --compression gzip > /dev/null
if [ -z "${BENCH_IMAGE:-}" ]; then
    BENCH_IMAGE=$work/d12.tar.gz
    berth image build debian/12 --output "$BENCH_IMAGE" --compression gzip
fi

measured=()
for kind in ${BENCH_FS:-ext4 btrfs xfs}; do
    command -v "mkfs.$kind" > /dev/null || { say "$kind is left out: mkfs.$kind is not installed"; continue; }
    put_up "$kind" >&2
    printf '\n==> %s\n' "$kind"
    # shellcheck disable=SC2086 # arguments of the caller
    python3 "$bench/bench.py" --only d12,launch --json "$json/$kind.json" ${BENCH_ARGS:---samples 8} \
        "lxd=$at/lxd/unix.socket" "berth=$BERTH_DIR/unix.socket"
    put_down >&2
    measured+=("$json/$kind.json")
done
[ ${#measured[@]} = 0 ] || { printf '\n'; python3 "$top/scripts/bench_fs.py" "${measured[@]}"; }
