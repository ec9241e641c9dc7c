# Sourced by the wrappers: where Berth's programs are, and LXD's variables by Berth's names.
here=$(dirname "$(readlink -f "$0")")
BERTH_BIN=${BERTH_BIN:-$(readlink -f "$here/../../../bin")}
[ -z "${LXD_DIR:-}" ] || export BERTH_DIR=$LXD_DIR
[ -z "${LXD_CONF:-}" ] || export BERTH_CONF=$LXD_CONF
[ -z "${LXD_IDMAPPED_MOUNTS_DISABLE:-}" ] || export BERTH_IDMAPPED_MOUNTS_DISABLE=$LXD_IDMAPPED_MOUNTS_DISABLE
[ -z "${LXD_UNPRIVILEGED_ONLY:-}" ] || export BERTH_UNPRIVILEGED_ONLY=$LXD_UNPRIVILEGED_ONLY

# A command found further along PATH than this folder's wrappers.
real() {
    IFS=:
    for dir in $PATH; do
        [ "$(readlink -f "$dir/$1" 2> /dev/null)" != "$here/$1" ] && [ -x "$dir/$1" ] && echo "$dir/$1" && return
    done
    echo "$1: not installed" >&2
    exit 127
}
