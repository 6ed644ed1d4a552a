# tap.sh: test results in the Test Anything Protocol, for shell tests (bash).
#
#   . "$(dirname "$0")/tap.sh"
#   need redis-server redis-server      # program, apt package: without it the test fails
#   ok 'the name is gone' test ! -e "$name"
#   is "$(cat out)" "16" 'sixteen hits'
#   like "$(cat err)" 'no process .* under libhakmem' 'says what is missing'
#   skip 'perf counters' "$kernel_said" # only for what the machine's kernel refuses
#   done_testing
#
# Each of ok, is, like, unlike and skip is one result.  Also here:
#   $tmp                 a directory of this test's own, removed at its end
#   $lib $hakctl $hakstat  the library and the tools of the build under test
#   preloaded COMMAND…   run it under the library
#   in_background COMMAND…  start it, its pid is in $!; it is killed at the test's end.  COMMAND is
#                        a program, or preloaded and a program
#   wait_until COMMAND…  try it every 20 ms until it succeeds; fails after 30 seconds
#   diag TEXT            a comment for who reads a failure; at most 60 lines
set -u
: "${HAK_SRC:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
: "${HAK_BUILD:=$HAK_SRC/build}"
lib=$HAK_BUILD/.libs/libhakmem.so
hakctl=$HAK_BUILD/hakctl/hakctl
hakstat=$HAK_BUILD/hakstat/hakstat
export LC_ALL=C.UTF-8
# What `make check` keeps open and tells its children is no matter of the test's own programs.
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
unset MAKEFLAGS MFLAGS MAKELEVEL

tap_count=0 tap_failed=0 tap_pids=()
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-test.XXXXXX") || exit 99

tap_cleanup() {
    local status=$? pid
    trap - EXIT
    for pid in "${tap_pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    rm -rf "$tmp"
    exit "$status"
}
trap tap_cleanup EXIT
trap 'exit 99' HUP INT TERM

diag() { printf '%s\n' "$*" | head -n 60 | sed 's/^/# /'; }
tap_result() {  # STATUS DESCRIPTION
    tap_count=$((tap_count + 1))
    if [ "$1" -eq 0 ]; then
        printf 'ok %d - %s\n' "$tap_count" "$2"
    else
        tap_failed=$((tap_failed + 1))
        printf 'not ok %d - %s\n' "$tap_count" "$2"
    fi
    return "$1"
}

ok() {
    local what=$1 out status
    shift
    out=$("$@" 2>&1)
    status=$?
    tap_result "$status" "$what" || diag "exit status $status: $*"$'\n'"$out"
    return "$status"
}
is() {
    [ "$1" = "$2" ]
    tap_result $? "$3" || { diag $'     got: '"$1"$'\nexpected: '"$2"; return 1; }
}
like() {
    [[ $1 =~ $2 ]]
    tap_result $? "$3" || { diag $'     got: '"$1"$'\nno match: '"$2"; return 1; }
}
unlike() {
    ! [[ $1 =~ $2 ]]
    tap_result $? "$3" || { diag $'     got: '"$1"$'\n matches: '"$2"; return 1; }
}
skip() {
    tap_count=$((tap_count + 1))
    printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}
bail() { printf 'Bail out! %s\n' "$*"; exit 99; }
done_testing() {
    printf '1..%d\n' "$tap_count"
    [ "$tap_failed" -eq 0 ] && [ "$tap_count" -gt 0 ]
    exit
}

# A missing package is a failure of the set-up, not a reason to skip.
need() {
    command -v "$1" >/dev/null && return
    tap_result 1 "needs $1 (Debian package $2)"
    done_testing
}

preloaded() { ${tap_exec-} env LD_PRELOAD="$lib${LD_PRELOAD:+:$LD_PRELOAD}" "$@"; }
in_background() {
    tap_exec=exec "$@" &
    tap_pids+=($!)
}
wait_until() {
    local i
    for ((i = 0; i < 1500; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.02
    done
    return 1
}
