#!/usr/bin/env bash
# Shows where the time of one create, start, exec, stop and delete goes: `make bench-trace`. The daemon, its helper and the
# container are traced with strace (Debian's package), which slows them several times: order, counts and waits hold,
# milliseconds do not.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
# shellcheck source=scripts/bench_lib.sh
. "$top/scripts/bench_lib.sh"
command -v strace > /dev/null || { echo "bench-trace: strace is not installed" >&2; exit 1; }

dir=$(mktemp -d /var/tmp/berth-trace.XXXXXX)
chmod 711 "$dir"
tracer=
down() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$tracer" ] || kill "$tracer" 2> /dev/null || true
    daemon_down "$dir"
    rm -rf "$dir"
    exit $status
}
trap down EXIT
trap 'exit 130' INT TERM

# traced LABEL METHOD PATH [BODY] makes one call, waits for its operation and prints what happened meanwhile.
traced() {
    local label=$1 method=$2 path=$3 body=${4:-} out=$dir/trace
    local pids pid threads
    threads=$(ls "/proc/$(cat "$dir/pid")/task")
    mapfile -t pids < <(family "$(cat "$dir/pid")"; pgrep -f "lxc monitor. $BERTH_DIR/")
    strace -f -ttt -s 48 -o "$out" "${pids[@]/#/-p}" 2>&9 &
    tracer=$!
    for pid in "${pids[@]}"; do read -r -t 10 _ <&9; done # it says so for each that it has attached to
    curl -sS --unix-socket "$BERTH_DIR/unix.socket" -X "$method" "http://berth$path" ${body:+-d "$body"} > "$dir/answer"
    curl -sS --unix-socket "$BERTH_DIR/unix.socket" "http://berth$(jq -r .operation "$dir/answer")/wait" | jq -e '.metadata.status_code == 200' > /dev/null
    kill $tracer
    wait $tracer || true
    tracer=
    while read -r -t 0 _ <&9; do read -r _ <&9; done
    printf '\n==> %s\n' "$label"
    awk -v threads="${threads//$'\n'/ }" -f "$top/scripts/bench_trace.awk" "$out"
}

# family PID prints a process and all that came from it.
family() {
    local pid
    echo "$1"
    for pid in $(pgrep -P "$1"); do family "$pid"; done
}

mkfifo "$dir/strace"
exec 9<> "$dir/strace"
daemon_up "$dir" "$dir/berth"
berth image build busybox --output "$dir/bb.tar.gz" --compression gzip > /dev/null
berth image import "$dir/bb.tar.gz" --alias bb > /dev/null
# Once without a tracer: image volume, helper and caches are there from then on.
berth launch bb warm > /dev/null 2>&1
berth exec warm -- true
berth delete -f warm

traced create POST /1.0/instances '{"name": "t", "source": {"type": "image", "alias": "bb"}, "profiles": ["default"]}'
traced start PUT /1.0/instances/t/state '{"action": "start"}'
traced exec POST /1.0/instances/t/exec '{"command": ["true"]}'
traced stop PUT /1.0/instances/t/state '{"action": "stop", "force": true}'
traced delete DELETE /1.0/instances/t
