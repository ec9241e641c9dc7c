#!/usr/bin/env bash
# Builds the lab's guest from Debian packages alone: a Debian 12 machine for QEMU whose kernel has what a build host's may lack.
# The result in $LAB_DIR is vmlinuz, initrd, base.qcow2 and "zfs" (yes or no). What is up to date is not made again.
#
#   build.sh [--zfs=build|ready]    needs root; scripts/deps.sh lab installs what it calls
#
#   --zfs=build        (default) where no modules lie ready for the kernel's version, compile them: some 20 minutes of CPU
#   --zfs=ready        then do without ZFS
#
#   LAB_DIR            where it all goes (default /var/cache/berth/lab; 1.7 GB when done)
#   LAB_ZFS_MODULES    folder with ready modules, VERSION/*.ko (default ../shared/lab/zfs-modules beside the source tree)
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
LAB_DIR=${LAB_DIR:-/var/cache/berth/lab}
ready=${LAB_ZFS_MODULES:-$(readlink -m "$here/../../../../shared/lab/zfs-modules")}
zfs=build
for arg in "$@"; do
    case $arg in
    --zfs=build | --zfs=ready) zfs=${arg#--zfs=} ;;
    *) sed -n '2,/^set/s/^#\( \|$\)//p' "$0" >&2; exit 2 ;;
    esac
done

# What Berth and its tests need, what this machine's process 1 calls, and what the kernel's features are tried with.
packages="$("$here/../../../scripts/deps.sh" --print run test | xargs) busybox-static udev kmod procps iputils-ping
    apparmor lvm2 thin-provisioning-tools nbd-client nbd-server openvswitch-switch"
zfs_packages="zfsutils-linux"

step() { printf 'lab: [%3ds] %s\n' "$SECONDS" "$*" >&2; }
# With our own lists and cache: the host's need not be fresh, and contrib must not be added to them.
apt() {
    apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$LAB_DIR/apt/sources" -o Dir::State::Lists="$LAB_DIR/apt/lists" \
        -o Dir::Cache="$LAB_DIR/apt/cache" -o APT::Sandbox::User=root "$@"
}

# sources COMPONENTS: the host's own, with these components.
sources() {
    local f
    rm -rf apt/sources
    mkdir -p apt/sources apt/lists/partial apt/cache/archives/partial
    for f in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$f" ] || sed -E "s/^Components:.*/Components: $1/" "$f" > "apt/sources/${f##*/}"
    done
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -s "$f" ] || sed -E "s/^(deb .* )main\b.*/\1$1/" "$f" > "apt/sources/${f##*/}"
    done
    apt update
}

# contrib is where Debian keeps ZFS; a mirror may not have it.
lists() {
    step "package lists"
    if sources "main contrib" && apt-cache -o Dir::State::Lists="$LAB_DIR/apt/lists" -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$LAB_DIR/apt/sources" show zfs-dkms > /dev/null 2>&1; then
        packages+=" $zfs_packages"
    else
        step "no component contrib: a guest without ZFS"
        zfs=no
        sources main
    fi
}

# No manuals: mkfs, the page cache and the first boot are all the faster.
bootstrap() {
    step "root file system"
    rm -rf --one-file-system root root.new
    mmdebstrap --quiet --mode=root --variant=minbase --include="$(xargs <<< "$packages" | tr ' ' ,)" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm root.new apt/sources/*
    mv root.new root
}

# The kernel is unpacked, not installed: its scripts would want initramfs-tools, and our own initrd is smaller and boots faster.
kernel() {
    local package
    step "kernel"
    package=$(apt -s install linux-image-amd64 | sed -n 's/^Inst \(linux-image-6[^ ]*\) .*/\1/p')
    rm -rf debs kernel root/usr/lib/modules
    mkdir debs
    (cd debs && apt download "$package")
    dpkg -x debs/*.deb kernel
    mv kernel/lib/modules root/usr/lib/
    mv kernel/boot/vmlinuz-* vmlinuz.new
    mv vmlinuz.new vmlinuz
    rm -rf debs kernel
}

version() { ls root/usr/lib/modules; }

zfs_modules() {
    local into
    into=root/usr/lib/modules/$(version)/updates
    rm -rf "$into"
    mkdir -p "$into"
    if [ -e "$ready/$(version)/zfs.ko" ] && [ $zfs != no ]; then
        step "ZFS modules that lay ready"
        cp "$ready/$(version)/"*.ko "$into/"
    elif [ $zfs = build ]; then
        step "ZFS modules are compiled; this takes long"
        compile_zfs "$into"
    else
        step "no ZFS modules for $(version): a guest without ZFS"
        zfs=no
    fi
    [ $zfs = no ] || zfs=yes
    depmod -b root "$(version)"
}

# Against unpacked headers: neither dkms nor a compiler has to go into the guest. gcc-12 is what built the kernel.
compile_zfs() {
    local v src=$LAB_DIR/zfs.build/usr/src deb
    v=$(version)
    rm -rf debs zfs.build
    mkdir debs
    (cd debs && apt download "linux-headers-$v" "linux-headers-${v%-amd64}-common" linux-kbuild-6.1 zfs-dkms)
    for deb in debs/*.deb; do dpkg -x "$deb" zfs.build; done
    sed -i "s#^include #&$LAB_DIR/zfs.build#" "$src/linux-headers-$v/Makefile"
    (
        cd "$src"/zfs-*
        ./configure -q --with-config=kernel --with-linux="$src/linux-headers-${v%-amd64}-common" --with-linux-obj="$src/linux-headers-$v"
        make -s -j"$(nproc)"
    ) > zfs.log 2>&1 || { tail -n 30 zfs.log >&2; return 1; }
    find "$src"/zfs-*/module -name '*.ko' -exec strip -g {} + -exec cp -t "$1" {} +
    rm -rf debs zfs.build zfs.log
}

configure() {
    step "configuration"
    install -m 755 "$here/init" root/sbin/lab-init
    install -m 755 "$here/jobs" root/sbin/lab-jobs
    install -m 644 "$here/jobs.service" root/etc/systemd/system/lab-jobs.service
    # Nothing that packages bring starts by itself, but AppArmor, which a host has on.
    find root/etc/systemd/system -mindepth 2 -type l ! -name apparmor.service -delete
    rm -rf root/etc/rc?.d
    mkdir -p root/etc/systemd/system/multi-user.target.wants
    ln -sfn ../lab-jobs.service root/etc/systemd/system/multi-user.target.wants/
    mkdir -p root/lab
    echo lab > root/etc/hostname
    printf '127.0.0.1 localhost lab\n' > root/etc/hosts
    echo 'root:1000000:1000000000' | tee root/etc/subuid > root/etc/subgid
    # Nothing of the mirror stays behind.
    rm -rf root/etc/apt/sources.list* root/var/lib/apt/lists/* root/var/cache/apt/* root/etc/resolv.conf
    printf 'nameserver 10.0.2.3\n' > root/etc/resolv.conf
}

# Debian's kernel has virtio and ext4 as modules only, so there must be an initrd: busybox, some modules, a few lines.
initrd() {
    local m
    step "initrd"
    rm -rf initrd.d
    mkdir -p initrd.d/{bin,dev,proc,root}
    cp root/bin/busybox initrd.d/bin/
    for m in virtio_pci virtio_blk crc32c_generic ext4; do
        modprobe -d "$LAB_DIR/root" -S "$(version)" --show-depends "$m"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r m; do
        cp "$m" initrd.d/
        echo "busybox insmod /${m##*/}"
    done > initrd.d/modules
    install -m 755 "$here/initrd-init" initrd.d/init
    (cd initrd.d && find . | busybox cpio -o -H newc 2> /dev/null | gzip -1) > initrd.new
    rm -rf initrd.d
    mv initrd.new initrd
}

# mkfs fills the file system itself: no loop device, no mount.
image() {
    step "image"
    rm -f base.raw
    mkfs.ext4 -q -d root -E lazy_itable_init=1,root_owner=0:0 -O ^has_journal base.raw 16G > /dev/null
    qemu-img convert -f raw -O qcow2 base.raw base.new
    rm -f base.raw
    mv base.new base.qcow2
}

mkdir -p "$LAB_DIR"
cd "$LAB_DIR"
exec 9> build.lock
flock 9

# An image is current when it was made by these files, from these packages, with the ZFS that is asked for.
stamp=$(cat "$here"/{build.sh,init,jobs,jobs.service,initrd-init} - <<< "$packages" | sha256sum | cut -c 1-16)
current() { [ -e base.qcow2 ] && [ "$(cat stamp 2> /dev/null)" = "$stamp" ] && { [ "$(cat zfs)" = yes ] || [ $zfs = ready ]; }; }
if ! current; then
    step "building in $LAB_DIR"
    rm -f stamp
    lists
    # The root file system is most of the time, and depends on the packages alone.
    if [ ! -d root ] || [ "$(cat root.packages 2> /dev/null)" != "$packages" ]; then
        rm -f root.packages
        bootstrap
        kernel
        echo "$packages" > root.packages
    fi
    zfs_modules
    configure
    initrd
    image
    echo $zfs > zfs
    # A saved state belongs to the image that it was made with.
    rm -rf apt state-*
    echo "$stamp" > stamp
fi
step "the guest is ready: $(du -ch vmlinuz initrd base.qcow2 | tail -n 1 | cut -f 1) in $LAB_DIR, kernel $(version), ZFS: $(cat zfs)"
