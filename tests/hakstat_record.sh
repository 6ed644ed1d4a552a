# hakstat_record.sh: recordings say what was seen, to the last figure; whole or torn.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
need jq jq
need python3 python3

# start ARGUMENT...: a fixture; its pid is in $pid.
start() {
    rm -f "$tmp/pid"
    in_background "$HAK_BUILD/tests/fixture_segment" "$@" >"$tmp/pid"
    wait_until test -s "$tmp/pid" || bail "fixture_segment $* did not start"
    pid=$(cat "$tmp/pid")
}
# run ARGUMENT...: hakstat; $out, $err and $code.
run() {
    out=$("$hakstat" "$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}
same() { cmp -s "$1" "$2"; }

# A sample a second for an hour, or for ten minutes; only faster.
n=600
[ "${HAK_LONG-}" ] && n=3600
start threads=5 busy=3
run -j -n $n -d 0.01 -p "$pid" --record "$tmp/all"
printf '%s\n' "$out" >"$tmp/live"

is "$code|$err|$(wc -l <"$tmp/live")" "0||$n" "$n samples are recorded"
is "$(stat -c %a "$tmp/all")" 600 'for the owner alone'
ok 'with some kilobytes a sample' test "$(stat -c %s "$tmp/all")" -lt $((n * 2000))
"$hakstat" -j --replay "$tmp/all" >"$tmp/replayed"
ok 'the replay has the same figures' same "$tmp/live" "$tmp/replayed"
ok 'in which something happens' test \
    "$(jq -s 'map(.classes[1].allocs) | add' "$tmp/live")" -gt $n
is "$("$hakstat" --csv --replay "$tmp/all" -s knobs | sed -n 3p | cut -d, -f2,4-7)" \
    "$pid,tiny.heap_v2.class_mask,0xFF,0xFF,0x0..0xFF" 'other screens can be asked for later'
"$hakstat" -j -n 1 -d 0.01 -p "$pid" -s superslabs | jq .superslabs >"$tmp/map"
"$hakstat" -j -n 1 --replay "$tmp/all" -s superslabs | jq .superslabs >"$tmp/replayed"
ok 'the map of SuperSlabs as well' same "$tmp/map" "$tmp/replayed"
ok 'which is not empty' test "$(jq length "$tmp/map")" = 9
run -j --replay "$tmp/all" -n 3
is "$(wc -l <<<"$out")" 3 '-n: no more than that'

# Torn: as far as it is whole.
size=$(stat -c %s "$tmp/all") torn=0
for part in 50 75 90 95 99; do
    head -c $((size * part / 100)) "$tmp/all" >"$tmp/torn"
    "$hakstat" -j --replay "$tmp/torn" >"$tmp/replayed" 2>&1
    head -n "$(wc -l <"$tmp/replayed")" "$tmp/live" >"$tmp/expected"
    [ -s "$tmp/replayed" ] && cmp -s "$tmp/expected" "$tmp/replayed" && torn=$((torn + 1))
done
is "$torn" 5 'cut off anywhere, it is shown as far as it is whole'
cp "$tmp/all" "$tmp/flipped"
printf X | dd of="$tmp/flipped" bs=1 seek=$((size * 60 / 100)) conv=notrunc status=none
"$hakstat" -j --replay "$tmp/flipped" >"$tmp/replayed"
head -n "$(wc -l <"$tmp/replayed")" "$tmp/live" >"$tmp/expected"
ok 'a wrong byte ends it' test "$(wc -l <"$tmp/replayed")" -lt $n
ok 'and what comes before is right' same "$tmp/expected" "$tmp/replayed"

fails() {   # CODE MESSAGE ARGUMENT...
    local want=$1 text=$2
    shift 2
    run "$@"
    is "$code|$out|$err" "$want||hakstat: $text" "hakstat $*"
}
fails 1 "$tmp/all: File exists" -b -p "$pid" --record "$tmp/all"
fails 1 "$tmp/none: No such file or directory" --replay "$tmp/none"
fails 7 "$tmp/live: no recording of this version of hakstat" --replay "$tmp/live"
head -c 3000 "$tmp/all" >"$tmp/torn"
fails 1 "$tmp/torn: not one whole sample in it" --replay "$tmp/torn"

# No room.
mkdir "$tmp/small"
mount -t tmpfs -o size=128k tmpfs "$tmp/small" || bail 'no tmpfs'
run -j -d 0.01 -p "$pid" --record "$tmp/small/all"
is "$code|$(tail -1 <<<"$out" | jq -r .error.message)" '1|the recording stops: No space left on device' \
    'a full disk ends it'
head -n -1 <<<"$out" >"$tmp/live"
"$hakstat" -j --replay "$tmp/small/all" >"$tmp/replayed"
ok 'and what found room is right' same "$tmp/live" "$tmp/replayed"
umount "$tmp/small"

# One process after another, the second with an older library, whose SuperSlabs have 32 slabs.
"$hakstat" -j -d 0.02 --follow 'fixture*' --record "$tmp/two" >"$tmp/live" &
watcher=$!
tap_pids+=("$watcher")
seen() { jq -r .pid "$tmp/live" | uniq | paste -sd' '; }
saw() { [ "$(seen)" = "$1" ]; }
wait_until saw "$pid"
first=$pid
kill -KILL "$first"
start threads=2 busy=1 corrupt=map_older
ok 'two processes in one recording' wait_until saw "$first $pid"
kill "$watcher"
wait "$watcher" 2>/dev/null
"$hakstat" -j --replay "$tmp/two" >"$tmp/replayed"
lines=$(wc -l <"$tmp/live")             # the last one may have been cut off, or not printed yet
head -n $((lines - 1)) "$tmp/replayed" >"$tmp/a"
head -n $((lines - 1)) "$tmp/live" >"$tmp/b"
ok 'replay as they were' same "$tmp/a" "$tmp/b" || diag "$(diff "$tmp/a" "$tmp/b" | cut -c1-300)"
"$hakstat" -j -n 1 -d 0.01 -p "$pid" -s superslabs | jq -c .superslabs >"$tmp/map"
"$hakstat" -j --replay "$tmp/two" -s superslabs | jq -c .superslabs >"$tmp/replayed"
is "$(head -1 "$tmp/replayed" | jq -c '[.[].slabs | length] | unique') $(tail -1 "$tmp/replayed")" "[64] $(cat "$tmp/map")" \
    'their maps too, with as many slabs as each has'
is "$(jq -c '[.[].slabs | length] | unique' "$tmp/map")" '[32]' 'the second one has fewer'

# A library with 128 slabs in a SuperSlab, as today's.
start threads=2 busy=1 corrupt=map_today
"$hakstat" -j -n 3 -d 0.02 -p "$pid" -s superslabs --record "$tmp/today" >"$tmp/live"
"$hakstat" -j --replay "$tmp/today" -s superslabs >"$tmp/replayed"
ok '128 slabs: replayed as they were' same "$tmp/live" "$tmp/replayed"
is "$(tail -1 "$tmp/replayed" | jq -c '[.superslabs[] | [.superslab, .first_slab, .slabs_used]]')" \
    '[[0,0,64],[0,64,63],[1,0,62],[1,64,61],[2,0,60],[2,64,59],[3,0,0],[3,64,0]]' 'all of them'

# as_older RECORDING: one whose first segment is the only one, as hakstat wrote it that knew 64 slabs at most.
as_older() {
    python3 - "$1" <<'END'
import struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
assert data[:8] == b"HAKSTAT3"
data[:8] = b"HAKSTAT2"
kind, size = struct.unpack_from("2I", data, 8)
struct.pack_into("I", data, 24 + 20, 0)                 # cells of a SuperSlab
total = 2166136261
for byte in data[8:16] + data[24:24 + size]:
    total = (total ^ byte) * 16777619 & 0xFFFFFFFF
struct.pack_into("I", data, 16, total)
sys.stdout.buffer.write(data)
END
}
kill -KILL "$pid"
start threads=2 busy=1
"$hakstat" -j -n 3 -d 0.02 -p "$pid" -s superslabs --record "$tmp/64" >"$tmp/live"
as_older "$tmp/64" >"$tmp/older"
"$hakstat" -j --replay "$tmp/older" -s superslabs >"$tmp/replayed"
ok "an older hakstat's recording of 64 slabs: likewise" same "$tmp/live" "$tmp/replayed"
done_testing
