#!/usr/bin/env bash
# Runs every fuzz target of the tree for a while, one on each processor: scripts/fuzz.sh [TIME, default 60s]
set -uo pipefail
export FUZZTIME=${1:-60s}

# ended_late tells from the output of a failed target that nothing but the clock failed: Go before 1.27 now and then takes the end of
# the time for a fault of the target (go.dev/issue/75804). A real one names the input that it has written.
ended_late() {
    [[ $1 == *$'\n--- FAIL: '*$'s)\n    context deadline exceeded\nFAIL\n'* && $1 != *'Failing input'* ]]
}

one() {
    local dir=$1 target=$2 out status=0
    # A new input is not made smaller: with large seeds that takes all the time there is.
    out=$(go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 1x -parallel 1 2>&1) || status=$?
    if [ $status = 0 ] || ended_late "$out"; then
        status=0
        printf '  %-32s %-20s %s\n' "$dir" "$target" "$(grep -o 'execs: [0-9]*' <<< "$out" | tail -n 1)"
    else
        printf '  %s %s FAILED\n%s\n' "$dir" "$target" "$out"
    fi
    return $status
}
export -f one ended_late

targets() { git grep -o -E '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed -E 's|^(.*)/[^/]*:func (.*)$|\1 \2|'; }

count=$(targets | wc -l)
if [ "$count" = 0 ]; then
    echo 'fuzz: no target found' >&2
    exit 1
fi
printf '  %d targets, %s each\n' "$count" "$FUZZTIME"
targets | xargs -P "$(nproc)" -L 1 bash -c 'one "$1" "$2"' fuzz
