#!/usr/bin/env bash
# Builds berth-lxc, the helper that links liblxc (Debian's gcc, libc6-dev, lxc-dev).
#
#   scripts/berth-lxc.sh OUTPUT     CC and CFLAGS of the environment are used
set -euo pipefail

out=$1
mkdir -p "$(dirname "$out")"
# Everything is linked at its start, which happens once, so that no process forked from it has pages of its own for that.
# shellcheck disable=SC2086 # flags of the caller
exec ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE ${CFLAGS:-} \
    -pie -Wl,-z,relro,-z,now,--as-needed -s -o "$out" "$(dirname "$0")"/../cmd/berth-lxc/*.c -llxc
