# redis_knobs.sh: while redis-server serves load, hakctl changes how it allocates, and the counters show
# it.  Deltas are taken after the acknowledgement; no request fails.
. "${HAK_SRC:-.}/tests/tap.sh"
need redis-server redis-server
need redis-benchmark redis-tools
need jq jq

sock=$tmp/redis.sock
cli() { redis-cli -s "$sock" "$@"; }
in_background env LD_PRELOAD="$lib" redis-server --port 0 --unixsocket "$sock" --save '' \
    --appendonly no --dir "$tmp" >"$tmp/redis.log" 2>&1
server=$!
wait_until cli ping || bail "redis-server does not answer: $(cat "$tmp/redis.log")"
ok 'libhakmem serves it' grep -q libhakmem "/proc/$server/maps"

# Load without an end: a key that comes and goes makes requests of 8 bytes and less.
in_background redis-benchmark -s "$sock" -q -l -P 16 -c 10 -r 10000 -n 100000 set key:__rand_int__ value >"$tmp/bench1" 2>&1
in_background redis-benchmark -s "$sock" -q -l -P 16 -c 5 -n 100000 set k v >"$tmp/bench2" 2>&1
in_background redis-benchmark -s "$sock" -q -l -P 16 -c 5 -n 100000 del k >"$tmp/bench3" 2>&1
wait_until eval '[ "$(cli dbsize)" -gt 100 ]' || bail 'redis-benchmark does not start'

stats() { "$hakctl" -j stats -p "$server" >"$1" || bail "hakctl stats: $(cat "$1")"; }
# set KNOB VALUE: until every busy thread has applied it.
set_knob() {
    local said
    said=$("$hakctl" set -p "$server" "$1=$2")
    like "$said" "^${1//./\\.}: [0-9A-Fx]+ -> $2 \(generation [0-9]+, applied by ([0-9]+)/\1 threads, [0-9]+ idle\)$" \
        "hakctl set $1=$2, while it serves"
}
requests() { cli info stats | sed -n 's/^total_commands_processed:\([0-9]*\).*/\1/p'; }
# Let it serve ten thousand requests between two readings.
measure() {
    local from
    stats "$tmp/a"
    from=$(requests)
    wait_until eval '[ $(($(requests) - '"$from"')) -ge 10000 ]' || bail 'redis-server serves no requests'
    stats "$tmp/b"
}
# The classes C0 to C7 whose COUNTER rose between the two readings.
risen() {
    jq -rn --slurpfile a "$tmp/a" --slurpfile b "$tmp/b" --arg name "$1" '
        [[$a[0].classes, $b[0].classes] | transpose[] | select(.[0].class | startswith("C")) |
         select(.[1][$name] > .[0][$name]) | .[0].class] | join(" ")'
}
# COUNTER's part of the allocations of C1 to C3, in thousandths.
share() {
    jq -n --slurpfile a "$tmp/a" --slurpfile b "$tmp/b" --arg name "$1" '
        [[$a[0].classes, $b[0].classes] | transpose[] | select(.[0].class == ("C1", "C2", "C3"))] |
        (map(.[1][$name] - .[0][$name]) | add) * 1000 / (map(.[1].allocs - .[0].allocs) | add) | floor'
}

set_knob tiny.heap_v2.class_mask 0x0
measure
like "$(risen allocs)" '^C0 C1 C2 C3' 'the load allocates in C0 to C3'
is "$(risen heap_v2_hits)" '' 'mask 0x0: no class takes a hit in TinyHeapV2'
set_knob tiny.heap_v2.class_mask 0xE
measure
is "$(risen heap_v2_hits)" 'C1 C2 C3' 'mask 0xE: C1, C2 and C3 do, C0 does not'
set_knob tiny.heap_v2.class_mask 0xF
measure
is "$(risen heap_v2_hits)" 'C0 C1 C2 C3' 'mask 0xF: C0 does too'
stealing_l0=$(share heap_v2_hits) stealing_l1=$(share fast_cache_hits)
set_knob tiny.heap_v2.leftover_mode 1
measure
leftover_l0=$(share heap_v2_hits) leftover_l1=$(share fast_cache_hits)
ok "leftover mode: TinyHeapV2's share falls ($stealing_l0 to $leftover_l0 of 1000)" \
    test "$leftover_l0" -lt $((stealing_l0 / 2))
ok "FastCache's rises ($stealing_l1 to $leftover_l1)" test "$leftover_l1" -gt $((stealing_l1 + 200))
set_knob tiny.heap_v2.leftover_mode 0
set_knob tiny.heap_v2.class_mask 0x0
measure
is "$(risen heap_v2_hits)" '' 'mask 0x0 again: none'
is "$(jq .exact "$tmp/b")" true 'the counters are exact'
ok 'every conservation law holds under load' "$hakctl" stats --check -p "$server"

like "$(cli info commandstats)" 'cmdstat_set:calls=[0-9]+.*rejected_calls=0,failed_calls=0' 'no SET failed'
is "$(cli info commandstats | grep -cE '(rejected|failed)_calls=[1-9]')" 0 'nor any other request'
is "$(cli info errorstats | grep -c errorstat_)" 0 'redis-server reports no error'
is "$(grep -aiE 'error|fail|refused' "$tmp"/bench?)" '' 'redis-benchmark saw none'
is "$(cli get key:000000000042; cli set a:b c)" "$(printf 'value\nOK')" 'it still answers'
done_testing
