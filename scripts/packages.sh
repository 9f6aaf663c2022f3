# shellcheck shell=bash
# How packages come that a script needs, and where some of what they bring is. Sourced, not run.

# Without starting the services in them, which would hold ports: the tests start programs of their own.
install_packages() (
    apt=(apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
    policy=/usr/sbin/policy-rc.d
    export DEBIAN_FRONTEND=noninteractive
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" || exit
    fi
    "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@"
)

# Prints the directory of the newest Postgres server's programs, which are in nobody's path.
postgres_bin() {
    local bin
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
    [[ -x $bin ]] || bin=$(command -v initdb) || return
    dirname "$(realpath "$bin")"
}

# need_packages PACKAGE[:PROGRAM]…: installs those whose program is missing; others than root are told.
need_packages() {
    local word missing=() path=$PATH:/usr/sbin
    for word in "$@"; do
        PATH=$path command -v "${word#*:}" >/dev/null || missing+=("${word%:*}")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "${0##*/}: missing: ${missing[*]}; on Debian, as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    install_packages "${missing[@]}" >&2
}
