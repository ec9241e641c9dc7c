#!/usr/bin/env bash
# Measures Berth on a daemon of its own: `make bench`. With the side-by-side bench beside the project
# (../shared/bench) and Debian's lxd installed, LXD runs next to it and the table shows the ratios; without the
# bench, berth-bench alone measures. Everything that was made is removed at the end.
#
#   BENCH_ARGS     more arguments for bench.py, e.g. "--samples 8 --rounds 2 --skip list"
#   BENCH_COUNT    containers that berth-bench launches where there is no bench.py (default 100)
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
bench=$(dirname "$top")/shared/bench
if [ "$(id -u)" != 0 ]; then
    echo "bench: run it as root: containers need the kernel's help" >&2
    exit 1
fi
dir=$(mktemp -d /var/tmp/berth-bench.XXXXXX)
chmod 711 "$dir"
export PATH=$top/bin:$PATH BERTH_DIR=$dir/berth BERTH_CONF=$dir/client
peer=

down() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$peer" ] || "$bench/start_peer.sh" destroy lxd "$peer" || true
    if [ -e "$dir/pid" ]; then
        berthd shutdown --timeout 60 > /dev/null 2>&1 || kill "$(cat "$dir/pid")" 2> /dev/null || true
    fi
    rm -rf "$dir"
    exit $status
}
trap down EXIT INT TERM

mkdir -p "$BERTH_DIR" "$BERTH_CONF"
chmod 711 "$BERTH_DIR"
setsid berthd --logfile "$dir/berthd.log" > "$dir/berthd.out" 2>&1 < /dev/null &
echo $! > "$dir/pid"
berthd waitready --timeout=60
berth storage create default dir
berth profile device add default root disk path=/ pool=default
berth image build busybox --output "$dir/bb.tar.gz" --compression gzip
berth image import "$dir/bb.tar.gz" --alias bb

if ! command -v python3 > /dev/null || [ ! -e "$bench/bench.py" ]; then
    echo "bench: $bench/bench.py is not there: Berth alone, by berth-bench"
    berth-bench launch --count "${BENCH_COUNT:-100}" --parallel 16 bb
    berth-bench delete --parallel 16
    exit 0
fi
export BB_IMAGE=$dir/bb.tar.gz
daemons=()
if command -v lxd > /dev/null && command -v lxc > /dev/null; then
    peer=$dir/lxd
    daemons+=("lxd=$("$bench/start_peer.sh" start lxd "$peer")")
else
    echo "bench: lxd is not installed: Berth alone"
fi
daemons+=("berth=$BERTH_DIR/unix.socket")
# shellcheck disable=SC2086 # arguments of the caller
python3 "$bench/bench.py" "${daemons[@]}" ${BENCH_ARGS:-}
