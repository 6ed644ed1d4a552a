# hakctl_hostile.sh: segments that are damaged, foreign, or not segments at all: an error with the
# right exit code each time, never a crash, and never another's figures for somebody's own.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
need jq jq
need python3 python3

fixture=$HAK_BUILD/tests/fixture_segment
mask=tiny.heap_v2.class_mask
start() {
    rm -f "$tmp/pid"
    in_background "$fixture" "$@" >"$tmp/pid"
    wait_until test -s "$tmp/pid" || bail "fixture_segment $* did not start"
    pid=$(cat "$tmp/pid")
}
clear_shm() { rm -rf /dev/shm/*; }
stop() {
    kill -KILL "$@"
    wait "$@" 2>/dev/null
    clear_shm
}
run() {
    out=$("$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}

# ---- Damage ----

# refused CODE MESSAGE: what every verb says to pid $pid.
refused() {
    local verb
    for verb in 'stats --check' list 'get tiny.*' 'set tiny.inline_sll=1' purge; do
        run "$hakctl" $verb -p $pid
        is "$code|$out|$err" "$1||hakctl: pid $pid: $2" "$case_: $verb"
    done
    run "$hakctl" ps
    like "$code|$out" "unreadable: $2" "$case_: ps"
}
# damaged WHAT MESSAGE [CODE [ARGUMENT...]]
damaged() {
    case_=$1
    start busy=1 "${@:4}" corrupt=$1
    refused "${3:-1}" "its segment is damaged: ${2//NEXT/$((pid + 1))}"
    stop $pid
}
start
size=$(stat -c %s /dev/shm/hakmem.*)
stop $pid
damaged magic 'not a hakmem segment'
damaged total "$size bytes, not $((size + 1))"
damaged cut "5000 bytes, not $size"
damaged knobs_off 'knob table'
damaged knobs_many 'knob table'
damaged knob_size 'knob table'
damaged stats_many 'counter table'
damaged bins_off 'bin table'
damaged class_size 'class table'
damaged state_off 'state area'
damaged control 'control page'
damaged stride 'slots'
damaged slots_max 'slots'
damaged no_slots 'slots'
damaged slot_most 'slots'
damaged stats_most 'counter table'
damaged bins_most 'bin table'
damaged class_most 'class table'
damaged inherited 'inherited row'
damaged pid 'the header names pid NEXT'

case_='another ABI'
start abi=2
refused 7 'its segment has ABI 2, this tool knows ABI 1'
stop $pid
case_='not ready'
start ready=0
refused 3 'it is only just starting'
stop $pid
case_='two names'
start corrupt=name_twice
refused 1 'its segment has 2 names, not one'
stop $pid

# ---- What can be lived with ----

start corrupt=used
"$hakctl" stats >/dev/null
blocks=$(stat -c %b /dev/shm/hakmem.*)
"$hakctl" stats >/dev/null
is "$(stat -c %b /dev/shm/hakmem.*)" "$blocks" 'slots_used out of bounds: to look gives no memory to holes'
run "$hakctl" -j stats
is "$code|${out%%,\"generation*}" "0|{\"pid\":$pid,\"comm\":\"fixture_segment\",\"version\":\"9.8.7\",\"state\":\"running\"" \
    'slots_used out of bounds: those that are there are read'
stop $pid
start corrupt=strings
run "$hakctl" list
is "$code|$(sed -n 2p <<<"$out" | cut -c-45)" "0|$(printf 'n%.0s' {1..39}) 1    " 'a name without an end is ended'
stop $pid
start corrupt=offsets
run "$hakctl" stats
is "$code|$(sed -n 4p <<<"$out")" '0|C0           8              0              0           0              0           -      -      -      -' \
    'counters outside of the file are none'
stop $pid
start corrupt=overlap
run "$hakctl" -j stats
is "$code|$(jq -c '.counters | keys' <<<"$out")" '0|["counter0"]' 'a word is one counter'"'"'s'
stop $pid
start corrupt=seq busy=1
torn='its state page is being written all the time'
run "$hakctl" list
is "$code|$out|$err" "1||hakctl: pid $pid: $torn" 'a writer that never ends: list'
run "$hakctl" set $mask=1
is "$code|$out|$err" "1||hakctl: pid $pid: $torn; nothing changed" 'a writer that never ends: set'
run "$hakctl" stats
like "$code|$out" '^0\|.* not exact' 'a writer that never ends: stats'
stop $pid

# ---- Files that are no segments ----

name=hakmem.$$.$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)
pid=$$
case_='a symbolic link'
ln -s /etc/passwd "/dev/shm/$name"
refused 1 'its segment is a symbolic link'
clear_shm
case_='a fifo'
mkfifo "/dev/shm/$name"
refused 1 'its segment is not a regular file'
clear_shm
case_='a directory'
mkdir "/dev/shm/$name"
refused 1 'its segment is not a regular file'
clear_shm
case_='an empty file that is locked, as at a birth'
exec {birth}>"/dev/shm/$name"
flock "$birth"
refused 3 'it is only just starting'
exec {birth}>&-
run "$hakctl" stats -p $pid
is "$code|$err" "1|hakctl: pid $pid: its segment was never finished" 'an empty file that nobody holds'
clear_shm
case_='a file that is too short'
echo >"/dev/shm/$name"
refused 1 'its segment is damaged: 1 bytes'
clear_shm
case_='a huge hole'
truncate -s 1E "/dev/shm/$name"
refused 1 'its segment is damaged: 1152921504606846976 bytes'
clear_shm
: >/dev/shm/hakmem.12 : >/dev/shm/hakmem.x.1 : >/dev/shm/hakmem.1.1.x >/dev/shm/hakmem.-5.1
run "$hakctl" ps
is "$code|$(wc -l <<<"$out")" '0|1' 'other names are not looked at'
run "$hakctl" gc
is "$(ls /dev/shm | wc -l)" 4 'and not removed'
clear_shm

# ---- Whose it is ----

if [ "$(cat /proc/self/uid_map | wc -w)" = 3 ] && grep -q ' 4294967295$' /proc/self/uid_map; then
    nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
    # The build may lie where nobody may not go.
    cp "$hakctl" "$tmp/hakctl"
    chmod 755 "$tmp" "$tmp/hakctl"
    start busy=1
    for verb in stats list "set $mask=1" purge; do
        run $nobody "$tmp/hakctl" $verb -p $pid
        is "$code|$out|$err" "4||hakctl: pid $pid: permission denied: its segment is of user root" "another user: $verb"
    done
    run $nobody "$tmp/hakctl" ps
    like "$code|$out" ' fixture_segment       - +- +- unreadable: permission denied: its segment is of user root$' 'another user: ps'
    run $nobody "$tmp/hakctl" gc
    is "$code|$out|$(ls /dev/shm | wc -l)" '0||1' 'another user: gc'
    chmod 640 /dev/shm/hakmem.*
    chgrp 65534 /dev/shm/hakmem.*
    run $nobody "$tmp/hakctl" get -n $mask
    is "$code|$out" '0|0xFF' 'the group may read'
    run $nobody "$tmp/hakctl" set $mask=1
    is "$code|$out|$err" "4||hakctl: pid $pid: permission denied: its segment is read-only for you; nothing changed" \
        'the group may not write'
    run $nobody "$tmp/hakctl" stats --check
    like "$code|$out" '^0\|.* not checked' 'nor ask for a walk'
    chown 65534 /dev/shm/hakmem.*
    case_='a stranger'"'"'s file under the name of our process'
    refused 4 'its segment belongs to uid 65534; not trusted'
    stop $pid
    run $nobody "$tmp/hakctl" gc
    is "$code|$(ls /dev/shm | wc -l)" '0|0' 'who owns a dead segment removes it'
else
    skip 'other users' "only one uid in this user namespace"
fi

# ---- Death and delay ----

start busy=1 deaf=1
"$hakctl" set $mask=1 >"$tmp/out" 2>"$tmp/err" &
setter=$!
# Its request is there once the generation in the control page is no longer 0.
requested() { [ "$(od -An -tu8 -j $((26 * 4096)) -N8 /dev/shm/hakmem.*)" -ne 0 ]; }
wait_until requested
victim=$pid
kill -KILL $pid
wait $setter
is "$?|$(cat "$tmp/out")|$(cat "$tmp/err")" "3||hakctl: pid $victim: the process has ended before it answered" \
    'the process dies while a set waits'
clear_shm

start busy=1
in_background python3 -c '
import fcntl, glob, struct, sys, time
f = open(glob.glob("/dev/shm/hakmem.*")[0], "r+b")
fcntl.fcntl(f, 37, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))     # F_OFD_SETLK
open(sys.argv[1], "w").close()
time.sleep(60)' "$tmp/locked"
holder=$!
wait_until test -e "$tmp/locked"
run "$hakctl" set $mask=1
is "$code|$out|$err" \
    "1||hakctl: pid $pid: another tool has held the lock of its control page for two seconds; nothing changed" \
    'a writer that holds the lock for ever'
{ kill -KILL $holder && wait $holder; } 2>/dev/null
. "$HAK_SRC/tests/lockstep.sh"
run "$hakctl" set $mask=1
is "$code|$out" "0|$mask: 0xFF -> 0x1 (generation 1, applied by 1/1 threads, 2 idle)" \
    'the lock of a killed writer is gone'
stop $pid

# ---- Namespaces ----

# Two processes that both are pid 1, in one /dev/shm; a third with a /dev/shm of its own.
contained() { in_background unshare --pid --fork "$@"; }
contained "$fixture" busy=1 threads=1 >"$tmp/one"
wait_until test -s "$tmp/one"
sleep 0.02      # start times are in hundredths of a second, and part of the name
contained "$fixture" busy=1 threads=2 >"$tmp/two"
wait_until test -s "$tmp/two"
contained --mount sh -c 'mount -t tmpfs tmpfs /dev/shm && exec "$@"' sh "$fixture" busy=1 threads=4 >"$tmp/three"
wait_until test -s "$tmp/three"
is "$(cat "$tmp/one" "$tmp/two" "$tmp/three")" $'1\n1\n1' 'three processes that are pid 1'
mapfile -t pids < <(pgrep -x fixture_segment)
is "${#pids[@]}" 3 'with pids of their own here'
run "$hakctl" ps
is "$code|$(awk 'NR > 1 { print $1, $3, $NF }' <<<"$out")" \
    "0|${pids[0]} 1 running
${pids[1]} 2 running
${pids[2]} 4 running" 'ps lists all three, by the pids that they have here'
for i in 0 1 2; do
    run "$hakctl" -p ${pids[i]} set $mask=$((i + 1))
    like "$code|$out" "^0\|$mask: 0xFF -> 0x$((i + 1)) \(generation 1, applied by 1/1 threads" "set on pid ${pids[i]}"
done
is "$(for i in 0 1 2; do "$hakctl" -p ${pids[i]} get -n $mask; done | tr '\n' ' ')" '0x1 0x2 0x3 ' \
    'none is confused with another'
kill -KILL "${pids[@]}"
done_testing
