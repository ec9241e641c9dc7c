#!/usr/bin/env bash
# The first five minutes: a daemon on a folder of its own, a Debian image, a pool, a bridge, a container.
#
#   scripts/quickstart.sh up      everything, and again: what is there already is kept
#   scripts/quickstart.sh down    everything that `up` made is removed
#
#   BERTH_QUICKSTART_DIR   the folder (default /var/lib/berth-quickstart)
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
dir=${BERTH_QUICKSTART_DIR:-/var/lib/berth-quickstart}
name=first network=berthbr0 image=debian/12
export BERTH_DIR=$dir/daemon BERTH_CONF=$dir/client
export PATH=$top/bin:$PATH

step() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
alive() { [ -e "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2> /dev/null && berthd waitready --timeout=5 > /dev/null 2>&1; }
has() { "$@" > /dev/null 2>&1; }

# until_true SECONDS WHAT COMMAND… runs COMMAND until it succeeds, and shows that it is still at it.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if [ $SECONDS -ge $end ]; then
            printf '\nquickstart: gave up waiting for %s\n' "$what" >&2
            return 1
        fi
        printf '.'
        sleep 0.5
    done
}

has_address() { berth list "$name" --format csv --columns 4 | grep -q '[0-9]'; }
is_up() {
    case $(berth exec "$name" -- systemctl is-system-running 2> /dev/null) in
    running | degraded) return 0 ;;
    *) return 1 ;;
    esac
}

up() {
    if [ "$(id -u)" != 0 ]; then
        echo "quickstart: run it as root: containers need the kernel's help" >&2
        exit 1
    fi
    if alive; then
        step "The daemon runs already in $BERTH_DIR"
    else
        step "Starting berthd in $BERTH_DIR (log: $dir/berthd.log)"
        mkdir -p "$dir" "$BERTH_DIR" "$BERTH_CONF"
        chmod 711 "$dir" "$BERTH_DIR"
        setsid berthd --logfile "$dir/berthd.log" > "$dir/berthd.out" 2>&1 < /dev/null &
        echo $! > "$dir/pid"
        berthd waitready --timeout=60 || { tail -n 20 "$dir/berthd.out" >&2; exit 1; }
    fi

    if ! has berth storage show default; then
        step "Making the storage pool default (driver dir)"
        berth storage create default dir
        has berth profile device get default root path || berth profile device add default root disk path=/ pool=default
    fi
    if ! has berth network show "$network"; then
        step "Making the bridge $network, with DHCP, DNS and NAT"
        berth network create "$network"
        has berth profile device get default eth0 name || berth profile device add default eth0 nic network="$network" name=eth0
    fi
    if ! has berth image show "$image"; then
        step "Building a Debian 12 image (a few minutes the first time)"
        berth image build "$image" --alias "$image"
    fi
    if ! has berth info "$name"; then
        step "Launching the container $name"
        berth launch "$image" "$name"
    elif [ "$(berth list "^$name\$" --format csv --columns s)" != RUNNING ]; then
        step "Starting the container $name"
        berth start "$name"
    fi

    step "Waiting for systemd and an address"
    until_true 180 "systemd in $name" is_up
    until_true 60 "an address of $name" has_address
    echo

    step "berth exec $name -- sh -c '…'"
    berth exec "$name" -- sh -c '
        . /etc/os-release
        echo "$PRETTY_NAME, host name $(hostname), systemd is $(systemctl is-system-running), $(ps ax --no-headers | wc -l) processes"'

    step "berth list"
    berth list
    cat << EOF

The container runs on; so does the daemon. To go on, in this shell:

    export BERTH_DIR=$BERTH_DIR BERTH_CONF=$BERTH_CONF PATH=$top/bin:\$PATH
    berth exec $name -- bash            a shell inside
    berth launch $image second          another one
    berth --help                        what else there is

To remove everything: make quickstart-down
EOF
}

down() {
    [ -d "$dir" ] || { echo "quickstart: nothing is there in $dir"; return; }
    if alive; then
        step "Removing instances, images, the bridge and the pool"
        berth list --format csv --columns n | while read -r i; do berth delete --force "$i"; done
        berth image list --format csv --columns f | while read -r i; do berth image delete "$i"; done
        printf 'config: {}\ndevices: {}\n' | berth profile edit default
        ! has berth network show "$network" || berth network delete "$network"
        ! has berth storage show default || berth storage delete default
        step "Ending the daemon"
        pid=$(cat "$dir/pid")
        berthd shutdown --timeout=60 || kill "$pid" 2> /dev/null || true
        until_true 30 "the daemon's end" sh -c "! kill -0 $pid 2> /dev/null"
    fi
    rm -rf --one-file-system "$dir"
    echo "Gone: $dir"
}

case ${1:-} in
up) up ;;
down) down ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
