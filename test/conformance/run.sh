#!/bin/sh
# Runs LXD's integration tests that pass against this tree's programs: those named in tests, or on the command line.
#
#   LXD_SUITE  LXD's source tree at tag lxd-5.0.2 (see README.md)
#   RUNNER     the program that runs tests of it against a pair of binaries
#   BERTH_STOCK_CLIENT=1  has Debian's lxc in the place of berth
set -eu
here=$(dirname "$(readlink -f "$0")")
for name in LXD_SUITE RUNNER; do
	eval "value=\${$name:-}"
	if [ -z "$value" ]; then
		echo "conformance: $name is not set: see test/conformance/README.md" >&2
		exit 1
	fi
done
[ $# -gt 0 ] || set -- $(grep -v '^#' "$here/tests")
logs=$(mktemp -d)
echo "conformance: $# tests, logs in $logs"
exec "$RUNNER" -j "${JOBS:-1}" -t 600 -x criu -o "$logs" -r "$logs/results.tsv" "$LXD_SUITE" "$here/bin" dir "$@"
