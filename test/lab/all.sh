#!/usr/bin/env bash
# Runs the tests of all.txt on the host and in the lab's guest, and writes RESULTS.md. Needs root and make's bin/berth-lab and image.
#
#   all.sh [host] [lab] [table]    only these steps (default all three); what they print is kept in bin/lab/{host,lab}.log
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
mkdir -p bin/lab
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(host lab table)
failed=0

host() {
    local words rc=0
    while read -r -a words; do
        [ ${#words[@]} = 0 ] || go test -timeout 30m -count 1 -p 1 -v "${words[@]}" 2>&1 < /dev/null || rc=1
    done < <(sed 's/#.*//' test/lab/all.txt)
    return $rc
}
table() {
    cat << EOS
# Results of \`make lab-all\`

Written by \`test/lab/all.sh\`, $(date -u +%F), commit $(git rev-parse --short HEAD). The host is the machine that builds: kernel $(uname -r), cgroup v1. The lab is the guest:
kernel $(ls "${LAB_DIR:-/var/cache/berth/lab}/root/usr/lib/modules"), cgroup v2 alone, AppArmor, emulated. What differs is a finding or a property of one of the two; "why not" says which.
"–": not run there.
EOS
    bin/berth-lab table bin/lab/host.log bin/lab/lab.log
}
for step in "${steps[@]}"; do
    case $step in
    host) host | tee bin/lab/host.log | scripts/brief.awk || failed=1 ;;
    lab) bin/berth-lab run -timeout 3h -list test/lab/all.txt 2>&1 | tee bin/lab/lab.log | scripts/brief.awk || failed=1 ;;
    table) table > bin/lab/RESULTS.md && cp bin/lab/RESULTS.md test/lab/RESULTS.md || failed=1 ;;
    *) echo "all.sh: what is $step?" >&2; exit 2 ;;
    esac
done
exit $failed
