#!/usr/bin/env bash
# Measures Berth on a daemon of its own: `make bench`. With the side-by-side bench beside the project
# (../shared/bench) and Debian's lxd installed, LXD runs next to it and the table shows the ratios; without the
# bench, berth-bench alone measures. Everything that was made is removed at the end.
#
#   BENCH_ARGS     more arguments for bench.py, e.g. "--samples 8 --rounds 2 --skip list"
#   BENCH_CPU      samples of the CPU time of calls (default 8; 0 leaves it out, and saves a minute)
#   BENCH_TOOLS    folder of bench.py and start_peer.sh (default: ../shared/bench)
#   BENCH_COUNT    containers that berth-bench launches where there is no bench.py (default 100)
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
# shellcheck source=scripts/bench_lib.sh
. "$top/scripts/bench_lib.sh"
bench=${BENCH_TOOLS:-$(dirname "$top")/shared/bench}
dir=$(mktemp -d /var/tmp/berth-bench.XXXXXX)
chmod 711 "$dir"
peer=

down() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$peer" ] || "$bench/start_peer.sh" destroy lxd "$peer" || true
    daemon_down "$dir"
    rm -rf "$dir"
    exit $status
}
trap down EXIT
trap 'exit 130' INT TERM

daemon_up "$dir" "$dir/berth"
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
[ "${BENCH_CPU:-8}" = 0 ] || BENCH_TOOLS=$bench python3 "$top/scripts/bench_cpu.py" --samples "${BENCH_CPU:-8}" "${daemons[@]}"
