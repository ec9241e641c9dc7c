# shellcheck shell=bash
# What the scripts that measure share: a daemon of their own. Sourced, with `top` set to the project's folder.
#
# Sets PATH, BERTH_DIR and BERTH_CONF. What is left of it goes with daemon_down, which may be called at any time.

export PATH=${top:?}/bin:$PATH

[ "$(id -u)" = 0 ] || { echo "$(basename "$0" .sh): run it as root: containers need the kernel's help" >&2; exit 1; }

# daemon_up DIR FOLDER starts a daemon on FOLDER, with a pool that the default profile uses; DIR gets the rest.
daemon_up() {
    export BERTH_DIR=$2 BERTH_CONF=$1/client
    mkdir -p "$BERTH_DIR" "$BERTH_CONF"
    chmod 711 "$BERTH_DIR"
    setsid berthd --logfile "$1/berthd.log" > "$1/berthd.out" 2>&1 < /dev/null &
    echo $! > "$1/pid"
    berthd waitready --timeout=60
    berth storage create default dir
    berth profile device add default root disk path=/ pool=default
}

# gone PID waits, 30 s at most, until a process has ended with all its threads. One that was killed is a zombie while a
# thread of it is still in the kernel (LXD's in an fsync), and has all its files open until then.
gone() {
    for _ in $(seq 3000); do
        grep -qs '^State:.[^ZX]' "/proc/$1/task/"*/status || return 0
        sleep 0.01
    done
    echo "$(basename "$0" .sh): process $1 has not ended in 30 s" >&2
}

# daemon_down DIR ends it, with all its containers, and waits until it has let go of its folder.
daemon_down() {
    [ -e "$1/pid" ] || return 0
    local pid
    pid=$(cat "$1/pid")
    berthd shutdown --timeout 60 > /dev/null 2>&1 || kill "$pid" 2> /dev/null || true
    gone "$pid"
    rm -f "$1/pid"
}
