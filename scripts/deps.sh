#!/usr/bin/env bash
# Installs the Debian packages that Berth needs, by purpose; says what it adds and does nothing when all is there.
#
#   scripts/deps.sh build run image test lab
#   scripts/deps.sh --print run test           only lists them
set -euo pipefail

declare -A packages=(
    # a C compiler and liblxc's headers for berth-lxc
    [build]="gcc libc6-dev pkg-config lxc-dev make"
    # liblxc and the folder it mounts root file systems on, DHCP and DNS for bridges, squashfs images; isal's igzip (in Debian 12 on amd64,
    # arm64, armhf, ppc64el, s390x) reads gzip images at twice the speed, and is not needed
    [run]="liblxc1 liblxc-common dnsmasq-base squashfs-tools-ng xz-utils zstd isal ca-certificates"
    # what `berth image build` calls
    [image]="debootstrap mmdebstrap busybox-static"
    # stock clients and the tools that tests look at the host with; systemd for its view of our units: without systemd-sysv it is nobody's init
    [test]="lxd-client python3-pylxd iproute2 nftables acl attr jq socat strace squashfs-tools bzip2 e2fsprogs xfsprogs btrfs-progs curl tar systemd"
    # the guest of test/lab: QEMU, and what makes its image
    [lab]="qemu-system-x86 qemu-utils mmdebstrap busybox-static kmod e2fsprogs zstd gzip"
)

if [ "${1:-}" = --print ]; then
    shift
    for purpose in "$@"; do echo "${packages[$purpose]:?unknown purpose $purpose}"; done
    exit
fi

wanted=()
for purpose in "$@"; do
    for p in ${packages[$purpose]:?unknown purpose $purpose}; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2> /dev/null)" = installed ] || wanted+=("$p")
    done
done
if ! command -v go > /dev/null; then
    echo "deps: Go is missing: install Go 1.26 or newer first" >&2
    exit 1
fi
[ ${#wanted[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "deps: as root, please: apt-get install ${wanted[*]}" >&2
    exit 1
fi
echo "deps: installing ${wanted[*]}"
export DEBIAN_FRONTEND=noninteractive
# The packages' services are not wanted here: a policy of our own keeps them from starting while we install.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${wanted[@]}" | sed -n 's/^Setting up /  /p'
