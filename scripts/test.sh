#!/usr/bin/env bash
# Runs the tests, all or the stages named: vet unit race fuzz e2e faults lab. Every stage prints as it goes.
#
#   FUZZTIME   how long each fuzz target runs (default 10s; `make fuzz` takes a minute)
set -uo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

failed=() passed=0
stage() {
    local name=$1 start=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1))
        printf '==> %s: passed in %d s\n' "$name" $((SECONDS - start))
    else
        failed+=("$name")
        printf '==> %s: FAILED after %d s\n' "$name" $((SECONDS - start))
    fi
}

build() { make --no-print-directory build; }
vet() {
    go vet ./... && [ -z "$(gofmt -l api client cmd internal test | tee /dev/stderr)" ] &&
        go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
}
# Packages share the machine's interfaces and cgroups, so they run one or two at a time.
packages() { go list ./... | grep -v '/test/'; }
unit() { go test -timeout 15m -p 2 $(packages) ./test/arch/... ./test/lint/... ./test/lab/machine ./test/lab/suite; }
race() { go test -timeout 20m -p 2 -race -short $(packages); }
fuzz() { scripts/fuzz.sh "${FUZZTIME:-10s}"; }
e2e() { go test -timeout 30m -count 1 -v ./test/e2e/... ./test/keys/... ./test/cli/... ./test/hostile/... 2>&1 | scripts/brief.awk; return "${PIPESTATUS[0]}"; }
faults() { go test -timeout 30m -count 1 -v ./test/faults/... 2>&1 | scripts/brief.awk; return "${PIPESTATUS[0]}"; }
# What this host's kernel cannot show, in a guest; docs/lab.md.
lab() {
    make --no-print-directory bin/berth-lab && test/lab/image/build.sh --zfs=ready || return
    bin/berth-lab run -timeout 30m -list test/lab/ci.txt 2>&1 | scripts/brief.awk
    return "${PIPESTATUS[0]}"
}

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(vet unit race fuzz e2e faults lab)
stage build build
for s in "${stages[@]}"; do stage "$s" "$s"; done

printf '\n'
[ ${#failed[@]} = 0 ] || printf 'failed stages: %s\n' "${failed[*]}"
printf '%d passed, %d failed\n' "$passed" ${#failed[@]}
[ ${#failed[@]} = 0 ]
