#!/bin/bash
# demo.sh: redis-server on libhakmem, a knob flipped while it serves, and what that does to the hit
# rates.  Without redis, a program of bench/ takes its place.  ./dev demo builds first and runs this.
set -eu
build=${HAK_BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
hakctl=$build/hakctl/hakctl
hakstat=$build/hakstat/hakstat
seconds=2
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-demo.XXXXXX")
pids=()

cleanup() {
    trap - EXIT
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

say() { printf '\n%s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
# Show a command as one would type it, and run it.
show() { printf '\n$ %s\n' "${*/#"$build"\/*\//}"; "$@"; }

start_redis() {
    "$hakctl" run -- redis-server --port 0 --unixsocket "$tmp/redis.sock" --save '' \
        --appendonly no --dir "$tmp" >"$tmp/redis.log" 2>&1 &
    pid=$!
    pids+=($pid)
    local i
    for ((i = 0; i < 500; i++)); do
        redis-cli -s "$tmp/redis.sock" ping >/dev/null 2>&1 && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.02
    done
    redis-cli -s "$tmp/redis.sock" ping >/dev/null || fail "redis-server: $(cat "$tmp/redis.log")"
    redis-benchmark -s "$tmp/redis.sock" -t set,lpush,lpop,sadd,spop,hset -l -q -r 20000 -n 200000 \
        >"$tmp/load.log" 2>&1 &
    load=$!
    pids+=($load)
}
start_bundled() {
    "$hakctl" run -- "$build/bench/random_mixed" 10000 16 1040 100000000000 >"$tmp/load.log" 2>&1 &
    pid=$!
    load=$pid
    pids+=($pid)
}

# Print allocations so far of the tiny classes: all, by TinyHeapV2, by FastCache, by the slow path.
counts() {
    "$hakctl" -j stats -p $pid | awk -v RS='{' '
        function number(name) {
            match($0, "\"" name "\": *[0-9]+")
            return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0
        }
        /"class": *"C[0-7]"/ {
            l0 += number("heap_v2_hits"); l1 += number("fast_cache_hits"); slow += number("slow_allocs")
        }
        END { printf "%.0f %.0f %.0f %.0f\n", l0 + l1 + slow, l0, l1, slow }'
}
# Let it run for a while and say in words who served it.
observe() {
    local before after
    before=$(counts)
    sleep $seconds
    after=$(counts)
    awk -v mask="$("$hakctl" get -n -p $pid tiny.heap_v2.class_mask)" -v seconds=$seconds '
        NR == 1 { split($0, was) }
        NR == 2 {
            all = $1 - was[1]
            if (all == 0) exit 1
            printf "\nclass mask %s: of %d small allocations in %d seconds\n", mask, all, seconds
            printf "    TinyHeapV2     %5.1f %%\n", 100 * ($2 - was[2]) / all
            printf "    FastCache      %5.1f %%\n", 100 * ($3 - was[3]) / all
            printf "    the slow path  %5.1f %%\n", 100 * ($4 - was[4]) / all
        }' <<<"$before"$'\n'"$after" || fail 'the workload allocates nothing'
}

if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    say 'redis-server, preloaded with libhakmem, serves redis-benchmark.'
    start_redis
else
    say 'No redis-server here: a program that allocates and frees at random takes its place.'
    start_bundled
fi
for ((i = 0; i < 500; i++)); do
    "$hakctl" ps -p $pid 2>/dev/null | grep -q running && break
    sleep 0.02
done
[ $i -lt 500 ] || fail "it does not start: $(tail -n 3 "$tmp"/*.log)"
sleep 1
show "$hakctl" ps -p $pid
[ ! -x "$hakstat" ] || show "$hakstat" -b -n 1 -d $seconds -p $pid
observe
say 'Now the per-thread magazine, TinyHeapV2, is switched off in the running process:'
show "$hakctl" set -p $pid tiny.heap_v2.class_mask=0x0
observe
say 'And on again:'
show "$hakctl" set -p $pid tiny.heap_v2.class_mask=0xFF
observe
say 'Do the counters agree with what the allocator holds?'
show "$hakctl" stats --check -p $pid >"$tmp/check" || fail "$(cat "$tmp/check")"
sed -n '2p; /^LAW/,$p' "$tmp/check"
kill -0 $load || fail "the workload ended: $(tail -n 3 "$tmp/load.log")"
say 'By hand: build/hakctl/hakctl run -- COMMAND; build/hakstat/hakstat; man build/man/hakmem.7'
