#!/usr/bin/env bash
# Puts plausible mistakes into the code, one at a time, and runs the tests that should notice: `make mutants`, by hand.
#
#   run.sh [NAME...]    all of them, or those named; needs root, as the tests do
#
# Each test/mutants/NAME.patch begins with a line "Loses:", which says what a user would lose, and lines "Tests:", each with arguments
# for `go test`. A mutant is made in a copy of HEAD; the tests named must pass there without it. It exits with 1 if a patch does not
# apply or build any more, if tests fail without a mutant, or if more than one mutant of ten survives.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(git -C "$here" rev-parse --show-toplevel)
scratch=$(mktemp -d /var/tmp/berth-mutants.XXXXXX)
chmod 711 "$scratch"
tree=$scratch/tree
trap 'git -C "$top" worktree remove --force "$tree" 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
git -C "$top" worktree add --quiet --detach "$tree" HEAD || exit 1
cp -r "$top/bin" "$tree/bin" || exit 1

field() { sed -n "/^diff\|^---/q; s/^$1: //p" "$2"; }
# Tests of the built programs need them as they are now, and are told where they are: a path of the source is not in what is built.
export BERTH_BIN=$tree/bin
programs() { case $1 in ./test/*) make -C "$tree" build || { echo '[build failed]'; return 1; } ;; esac; }
# The words of a line are arguments of their own, and none has blanks.
# shellcheck disable=SC2086
check() { (cd "$tree" && programs "$1" && timeout -k 10 300 go test -trimpath -vet=off -timeout 4m $1) > "$scratch/log" 2>&1; }
# The first test that failed, or else why there is none.
failed() {
    local test
    test=$(sed -n 's/^ *--- FAIL: \([^ ]*\).*/\1/p' "$scratch/log" | head -1)
    [ -n "$test" ] || test=$(sed -n 's/^panic: test timed out.*/(hangs)/p; s/^panic: .*/(panics)/p' "$scratch/log" | head -1)
    printf '%s' "${test:-(fails)}"
}

names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(cd "$here" && ls -- *.patch | sed 's/\.patch$//')
errors=0 caught=0 survived=0
declare -A clean
row() { printf '%-30s %-46s %s\n' "$1" "$2" "$3"; }
for name in "${names[@]}"; do
    patch=$here/$name.patch
    loses=$(field Loses "$patch")
    if ! git -C "$tree" apply --check "$patch" 2> "$scratch/log"; then
        row "$name" "ERROR: does not apply" "$(head -1 "$scratch/log")"
        errors=$((errors + 1))
        continue
    fi
    result=''
    while read -r tests; do
        if [ -z "${clean[$tests]-}" ]; then
            clean[$tests]=$(check "$tests" && echo passes || failed)
        fi
        if [ "${clean[$tests]}" != passes ]; then
            result="ERROR: ${clean[$tests]} fails without it"
            break
        fi
    done < <(field Tests "$patch")
    if [ -z "$result" ]; then
        git -C "$tree" apply "$patch"
        while read -r tests; do
            check "$tests" && continue
            result=$(failed)
            ! grep -q '\[build failed\]\|\[setup failed\]' "$scratch/log" || result='ERROR: does not build'
            break
        done < <(field Tests "$patch")
        git -C "$tree" apply --reverse "$patch"
    fi
    case $result in
        '') result=SURVIVED survived=$((survived + 1)) ;;
        ERROR*) errors=$((errors + 1)) ;;
        *) caught=$((caught + 1)) ;;
    esac
    row "$name" "$result" "$loses"
done
printf '\n%d caught, %d survived, %d in error, in %d s\n' "$caught" "$survived" "$errors" "$SECONDS"
[ "$errors" = 0 ] && [ $((survived * 10)) -le $((caught + survived)) ]
