# programs.sh: what the tests of real programs share.
#
#   feed FILE COMMAND…   runs it under the library with FILE as its standard input.  What it says is
#                        then in $tmp/out and $tmp/err, its exit status in $status, and $served is
#                        "yes" if it had malloc from libhakmem before it was given its input.  With
#                        $child set, that is asked of its child of this name
#   same WHAT FILE COMMAND…   three results: it was served, exits with 0, and says what it says under
#                        libc's malloc
. "${HAK_SRC:-.}/tests/tap.sh"
child=

is_served() {
    local pid=$1
    [ -z "$child" ] || pid=$(pgrep -P "$1" -x "$child") || return
    grep -q libhakmem "/proc/$pid/maps"
}

feed() {
    local file=$1 pid to
    shift
    rm -f "$tmp/fifo"
    mkfifo "$tmp/fifo"
    env LD_PRELOAD="$lib" "$@" <"$tmp/fifo" >"$tmp/out" 2>"$tmp/err" &
    pid=$!
    tap_pids+=("$pid")
    exec {to}>"$tmp/fifo"
    served=no
    wait_until is_served "$pid" && served=yes
    cat "$file" >&"$to"
    exec {to}>&-
    wait "$pid"
    status=$?
}

same() {
    local what=$1 file=$2
    shift
    "${@:2}" <"$file" >"$tmp/want" 2>"$tmp/want_err" || bail "$what fails without the library: $(cat "$tmp/want_err")"
    feed "$@"
    is "$served" yes "$what is served by libhakmem"
    is "$status $(cat "$tmp/err")" "0 $(cat "$tmp/want_err")" "$what succeeds"
    ok "$what says the same as under libc's malloc ($(wc -c <"$tmp/out") bytes)" cmp "$tmp/out" "$tmp/want"
}
