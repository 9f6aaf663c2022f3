# shellcheck shell=bash
# What the scripts share: a real server on free ports, with certificates of its own, and the end of it.
#
# Sourced, not run. `start NAME ARG…` starts one and fills ADDR, `stop NAME` ends it in peace, and whatever still
# runs when the script exits is ended then. All that is made is under $work, which goes with the script.

# How long a fact may take to come true, in seconds, before a script gives up on it.
PATIENCE=20

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/triwire-XXXXXX")
certs=$work/certs

declare -A ADDR # "NAME LISTENER" -> address:port
declare -A PID  # NAME -> process
declare -A OUT  # NAME -> descriptor of its stdout, after the ready line

clean() {
    local pid
    for pid in "${PID[@]}"; do
        kill -KILL "$pid"
    done 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Prints the binary that is asked: TRIWIRE_BIN, else the release build, else the debug build.
triwire_bin() {
    local bin target=${CARGO_TARGET_DIR:-$root/target}
    for bin in ${TRIWIRE_BIN:+"$TRIWIRE_BIN"} "$target/release/triwire" "$target/debug/triwire"; do
        if [[ -x $bin ]]; then
            echo "$bin"
            return
        fi
        [[ $bin != "${TRIWIRE_BIN:-}" ]] || break
    done
    die "there is no $bin; run: cargo build --release"
}

# start NAME [ARG…]: every listener on a free port of 127.0.0.1.
start() {
    local name=$1 bin line out listener listeners=()
    bin=$(triwire_bin) || exit
    shift
    for listener in http1 h2c ws http2 http1s wss; do
        listeners+=("--$listener" 127.0.0.1:0)
    done
    mkfifo "$work/$name.out"
    "$bin" serve --certs "$certs" --log-format json --drain 2s "${listeners[@]}" "$@" \
        </dev/null >"$work/$name.out" 2>"$work/$name.log" &
    PID[$name]=$!
    exec {out}<"$work/$name.out"
    OUT[$name]=$out
    if ! read -r -t "$PATIENCE" -u "$out" line; then
        cat "$work/$name.log" >&2
        die "$bin is not ready"
    fi
    for listener in http1 h2c ws http2 http1s wss; do
        [[ $line =~ \"$listener\":\"([^\"]+)\" ]] || die "$listener is not in the ready line: $line"
        ADDR["$name $listener"]=${BASH_REMATCH[1]}
    done
}

# stop NAME: asks it to leave; its exit status is the result.
stop() {
    local pid=${PID[$1]} deadline=$((SECONDS + PATIENCE)) status
    kill -TERM "$pid"
    while kill -0 "$pid" 2>/dev/null; do
        ((SECONDS < deadline)) || kill -KILL "$pid"
        sleep 0.02
    done
    wait "$pid"
    status=$?
    unset "PID[$1]"
    return "$status"
}

# said NAME: what it wrote on stdout after the ready line.
said() { cat <&"${OUT[$1]}"; }

# counted NAME GROUP KEY MEMBER: one number of /stats, such as `counted main wires sse_http2 streams`.
counted() {
    local stats
    # The port for WebSocket, since nobody here counts what it does.
    stats=$(curl -sS --max-time "$PATIENCE" "http://${ADDR["$1 ws"]}/stats") || return
    [[ $stats =~ \"$2\":\{(.*) && ${BASH_REMATCH[1]} =~ \"$3\":\{([^\}]*)\} ]] || return
    [[ ${BASH_REMATCH[1]} =~ \"$4\":([0-9]+) ]] && echo "${BASH_REMATCH[1]}"
}

# until_counted NUMBER NAME GROUP KEY MEMBER: waits until it is that number, or more.
until_counted() {
    local want=$1 deadline=$((SECONDS + PATIENCE)) now
    shift
    until now=$(counted "$@") && ((now >= want)); do
        ((SECONDS < deadline)) || return
    done
}
