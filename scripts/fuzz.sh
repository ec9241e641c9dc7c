#!/usr/bin/env bash
# Runs every fuzz target of the tree for a while: scripts/fuzz.sh [TIME, default 60s]
set -uo pipefail
time=${1:-60s}
status=0
while IFS=: read -r file target; do
    printf '  %s %s (%s)\n' "$(dirname "$file")" "$target" "$time"
    if ! out=$(go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time" 2>&1); then
        printf '%s\n' "$out"
        status=1
    else
        printf '%s\n' "$out" | tail -n 3 | grep -E 'execs|ok' | tail -n 1
    fi
done < <(git grep -hn --full-name -E '^func Fuzz' -- '*_test.go' > /dev/null; git grep -o -E '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed 's/func //')
exit $status
