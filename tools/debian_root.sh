# What tools/debian_tests and tools/freethreaded_tests share; to be sourced. It wants debootstrap
# (apt-get install debootstrap), and root.
#
# The root directory with Debian unstable is made once, in PMAP_DEBIAN_ROOT (/var/tmp/pmap-debian),
# from DEBIAN_MIRROR; what pip is told by PIP_* holds within.
# shellcheck shell=bash
top=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
root=${PMAP_DEBIAN_ROOT:-/var/tmp/pmap-debian}

# Run a command that has $root as its root directory. This is no chroot: in one of these, the kernel
# makes no user namespaces, in which some of the tests run their programs.
in_root() {
    unshare -m --propagation private bash -euc '
        mount --rbind "$0" "$0"
        cd "$0"
        mkdir -p .old
        pivot_root . .old
        cd /
        umount -l /.old
        exec "$@"
    ' "$root" "$@"
}

# Make the root, if it is not there, and install packages in it.
make_root() {
    if [[ ! -e $root/etc/debian_version ]]; then
        debootstrap --variant=minbase sid "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
    fi
    local place
    for place in proc sys dev dev/shm dev/pts; do
        mountpoint -q "$root/$place" || mount --bind "/$place" "$root/$place"
    done
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" apt-get -q -o Acquire::Check-Valid-Until=false update
    chroot "$root" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install "$@"
    # Certificates that this machine trusts beside Debian's own: its registries may want them.
    if compgen -G "/usr/local/share/ca-certificates/*.crt" > /dev/null; then
        cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
        chroot "$root" update-ca-certificates
    fi
}

# Run the tests of the committed tree, and put a line with the counts into docs/platforms.md.
#
#     run_tests FOLDER IN THE ROOT, PYTHON, REQUIREMENTS, [pytest's arguments]
run_tests() {
    local place=$1 python=$2 wanted=$3 log=$root$1/log status=0 full
    shift 3
    # Not below /root: some tests run programs as another user, who has to read all this.
    mkdir -p "$root$place"
    rm -rf "$root$place/tree"
    git clone -q --no-hardlinks "$top" "$root$place/tree"
    in_root env -u PYTHONUNBUFFERED HOME=/root LC_ALL=C.UTF-8 bash -euc '
        cd "$0/tree"
        "$1" -m venv "$0/venv"
        "$0/venv/bin/pip" install -q $2
        shift 2
        exec "$0/venv/bin/python" -m pytest -n auto -p no:cacheprovider "$@"
    ' "$place" "$python" "$wanted" "$@" < /dev/null | tee "$log" || status=$?

    # 0: all passed; 1: some failed. All else is no whole run, and is not noted.
    ((status < 2)) || exit "$status"

    full=$(chroot "$root" "$python" -c '
import platform, sysconfig
free = ", free threading" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(platform.python_version() + free)')
    "$top/tools/note_platform" "$top/docs/platforms.md" "Debian unstable, Python $full" "$log" "$@"
    exit "$status"
}
