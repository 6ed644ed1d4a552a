# hakstat_batch.sh: hakstat's text, JSON and CSV, targets, errors and exit codes, against segments
# whose figures are known (tests/fixture_segment).
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
need jq jq

# start ARGUMENT...: a fixture; its pid is in $pid.
start() {
    rm -f "$tmp/pid"
    in_background "$HAK_BUILD/tests/fixture_segment" "$@" >"$tmp/pid"
    wait_until test -s "$tmp/pid" || bail "fixture_segment $* did not start"
    pid=$(cat "$tmp/pid")
}
stop() {
    kill -KILL "$@"
    wait "$@" 2>/dev/null
}
# run ARGUMENT...: hakstat; $out, $err and $code.
run() {
    out=$("$hakstat" "$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}
fails() {   # CODE PID MESSAGE ARGUMENT...: in text, and as JSON
    local want=$1 who=$2 text=$3 prefix=
    shift 3
    [ "$who" = null ] || prefix="pid $who: "
    run -b "$@"
    is "$code|$out|$err" "$want||hakstat: $prefix$text" "hakstat $*: $want, $text"
    run -j "$@"
    is "$code|$(jq -r '.error | "\(.code) \(.pid) \(.message)"' <<<"$out")|$err" "$want|$want $who $text|" \
        "hakstat -j $*: the same"
}

# No process, and misuse.
fails 3 null "no process under libhakmem; start one with 'hakctl run -- COMMAND'"
fails 3 999999 'no such process' -p 999999
fails 3 $$ "not under libhakmem; start it with 'hakctl run -- COMMAND'" -p $$
fails 2 null "-d: '0' is not a number of seconds from 0.01 to 3600" -d 0
fails 2 null "-d: '1s' is not a number of seconds from 0.01 to 3600" -d 1s
fails 2 null "-n: '0' is not a number from 1 to 1000000000" -n 0
fails 2 null "-p: 'redis' is not a number from 1 to 4194304" -p redis
fails 2 null "-s: 'bins' is not a screen: classes, threads, superslabs, knobs, latencies, events, counters or probes" -s bins
fails 2 null "argument: 'redis' is not an option" redis
run -b --no-such-option
is "$code|$out" '2|' 'an unknown option: exit code 2, nothing on standard output'
run --version
is "$code|$out" "0|hakstat $("$hakctl" --version | sed 's/.* //')" '--version is that of hakctl'
run --help
is "$code|${out%%$'\n'*}" '0|usage: hakstat [-p PID | -c GLOB | --follow GLOB] [-s SCREEN] [-d SECONDS]' \
    '--help: the usage, on standard output'

# The only process; text.  Three threads: the sum of k is 6.
start threads=3
run --cumulative -n 1
squeezed=$(tr -s ' ' <<<"$out" | sed 's/ $//')
is "$code|$err" '0|' 'the only process is found; a pipe makes it batch'
row() { grep "^$1 " <<<"$squeezed"; }
is "$(row CLASS)" 'CLASS UP TO ALLOCS FREES L0 % FAST % SLOW % LIVE BYTES WASTE CACHED REFILLED REMOTE DRAINED L0 HITS FAST HITS SLOW RETURNED IN PLACE' \
    'text: the heads'
is "$(row C0)" 'C0 8 360 204 16.7 50.0 33.3 156 1248 - 720 300 24 6 60 180 120 30 0' 'text: C0'
is "$(row C3)" 'C3 64 720 408 16.7 50.0 33.3 312 17.1K ~4368 9.84K 600 48 12 120 360 240 60 0' \
    'text: C3, two bins'
is "$(row large)" 'large 1.00M 18 6 0.0 0.0 100.0 12 1.14M - 0 0 0 0 0 0 18 0 0' 'text: large'
is "$(row huge)" 'huge - 18 6 0.0 0.0 100.0 12 11.4M - 0 0 0 0 0 0 18 0 0' 'text: huge has no bound'
like "$squeezed" "^fixture_segment pid $pid [0-9.]+ s threads 3 generation 0 applied by 3/3 live 61\.6 MiB in 8136 blocks" \
    'text: the line above'

# A process in which nothing happens: no rate, and no share of nothing.
run -n 2 -d 0.05
is "$(grep -c '^CLASS' <<<"$out")" 2 '-n 2: two samples'
is "$(grep '^C1 ' <<<"$out" | tr -s ' ' | sort -u)" 'C1 16 0 0 - - - 156 2496 ~624 1440 0 0 0 0 0 0 0 0' \
    'rates are 0, 0/0 is -'

# JSON: the same as hakctl's, and typed.
run -j --cumulative -n 1
is "$(jq -c '[.version, .pid, .comm, .generation, .threads, .applied, .exact, .live]' <<<"$out")" \
    "[\"9.8.7\",$pid,\"fixture_segment\",0,3,3,true,8136]" 'JSON: the members about the process'
common='[.classes[] | {class, size_max, allocs, frees, heap_v2_hits, fast_cache_hits, slow_allocs, live, live_bytes, waste_bytes_estimate}]'
is "$(jq -cS "$common" <<<"$out")" "$("$hakctl" -j stats -p "$pid" | jq -cS "$common")" \
    'JSON: the classes are those of hakctl -j stats'
is "$(jq -c '.classes[3] | [.heap_v2_part, .fast_cache_part, .slow_part]' <<<"$out")" \
    '[0.166667,0.5,0.333333]' 'JSON: parts of 1'
run -j -n 1 -d 0.05
is "$(jq -c '.classes[0] | [.allocs, .heap_v2_part]' <<<"$out")" '[0,null]' 'JSON: no share of nothing is null'
run -j -n 3 -d 0.05
is "$(wc -l <<<"$out") $(jq -s 'map(.interval_ns > 0) | all' <<<"$out")" '3 true' 'JSON: a line a sample'
interval() { jq -s '[.[1:], .[:-1]] | transpose | all(.[0].interval_ns == .[0].uptime_ns - .[1].uptime_ns)' <<<"$out"; }
is "$(interval)" true 'JSON: interval_ns is the time between the samples'

# The other screens.
run -j --cumulative -n 1 -s threads
is "$(jq -c '.threads[] | [.tid, .state, .allocs, .frees, .cached_bytes > 0, .applied, .refills, .ticks]' <<<"$out" | tr '\n' ' ')" \
    "[\"$pid\",\"busy\",3126,1770,true,0,20,7] [\"$((pid + 1))\",\"busy\",6252,3540,true,0,40,14] [\"$((pid + 2))\",\"busy\",9378,5310,true,0,60,21] " \
    'threads'
run -j -n 1 -d 0.05 -s threads
is "$(jq -c '[.threads[].state]' <<<"$out")" '["idle","idle","idle"]' 'threads that did nothing are idle'
run -j --cumulative -n 1 -s counters
is "$(jq -c '[.counters[] | select(.counter | test("^superslabs|^refills|^huge_alloc")) | .value]' <<<"$out")" \
    '[12,3,7,2,11,120,18000000]' 'counters: of the process, and sums over threads'
run -j -n 1 -d 0.05 -s superslabs
is "$(jq -c '[.superslabs[] | [.superslab, .state, .slabs_used, .slabs_free]]' <<<"$out")" \
    '[[0,"live",64,0],[1,"live",63,1],[2,"live",62,2],[3,"live",61,3],[4,"live",60,4],[5,"live",59,5],[6,"live",58,6],[7,"LRU",0,0],[8,"LRU",0,0]]' \
    'superslabs: live ones and those of the LRU'
is "$(jq -r '.superslabs[2] | "\(.slabs)|\(.tenths)|\(.full_part)"' <<<"$out")" \
    "..44444444444444444444444444444444444444444444444444444444444444|  00000011111112222222333333344444445555555666666677777778888888|0.511811" \
    'its slabs: free, and of C4 from low to high'
is "$(jq -r '.superslabs[0].tenths, .superslabs[8].slabs' <<<"$out" | xargs)" \
    "?000000011111112222222333333344444445555555666666677777778888888 ----------------------------------------------------------------" 'not looked at; in the LRU'
run -n 1 -d 0.05 -s superslabs
is "$(sed -n 9p <<<"$out" | tr -s ' ')" \
    ' 6 0 live 58 6 55.1 ......mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm 0111111122222223333333444444455555556666666777777788888889' 'as text'
run -j --cumulative -n 1 -s knobs
is "$(jq -c '.knobs[1] | [.knob, .value, .default, .range, .context, .origin]' <<<"$out")" \
    '["tiny.heap_v2.class_mask","0xFF","0xFF","0x0..0xFF","live","default"]' 'knobs'
is "$(jq '.knobs | length' <<<"$out")" "$(grep -c '^KNOB(' "$HAK_SRC/abi/knobs.def")" 'knobs: every one'
run -j --cumulative -n 1 -s latencies
is "$(jq -c '.latencies[0] | [.path, .count, .p50_below_ns, .p90_below_ns, .p99_below_ns, .max_below_ns]' <<<"$out")" \
    '["refill",120,64,64,2048,2048]' 'latencies: 114 below 64 ns, 6 below 2048 ns'
is "$(jq -c '.latencies[1] | [.count, .p50_below_ns]' <<<"$out")" '[0,null]' 'latencies: of nothing'
run -j --cumulative -n 1 -s events
is "$(jq -c .events <<<"$out")" '[]' 'events: none while the ring is off'

# CSV.
run --csv --cumulative -n 1
is "$(head -1 <<<"$out")" "time_ns,pid,interval_ns,class,size_max,allocs,frees,heap_v2_part,fast_cache_part,slow_part,live,live_bytes,waste_bytes_estimate,cached_bytes,refilled,remote_frees,remote_drained,heap_v2_hits,fast_cache_hits,slow_allocs,returned,realloc_in_place" \
    'CSV: the names'
is "$(sed -n 2p <<<"$out" | cut -d, -f2,4-)" "$pid,C0,8,360,204,0.166667,0.500000,0.333333,156,1248,,720,300,24,6,60,180,120,30,0" \
    'CSV: C0'
is "$(tail -1 <<<"$out" | cut -d, -f4-7)" 'huge,,18,6' 'CSV: no bound is an empty field'
run --csv -n 2 -d 0.05
is "$(wc -l <<<"$out")" 23 'CSV: one head, eleven rows a sample'

for both in '--csv -j' '-j --csv'; do
    run $both -n 1
    is "$code|$out" '2|{"error":{"code":2,"message":"either -j or --csv","pid":null}}' "$both: one of them"
done

# Of a library with 128 slabs in a SuperSlab, as today's, each 64 are a row.
stop "$pid"
start corrupt=map_today
run -j -n 1 -d 0.05 -s superslabs
is "$(jq -c '[.superslabs[] | [.superslab, .first_slab, .state, .slabs_used, .slabs_free]]' <<<"$out")" \
    '[[0,0,"live",64,0],[0,64,"live",63,1],[1,0,"live",62,2],[1,64,"live",61,3],[2,0,"live",60,4],[2,64,"live",59,5],[3,0,"LRU",0,0],[3,64,"LRU",0,0]]' \
    '128 slabs in a SuperSlab: two rows of 64 each'
run -n 1 -d 0.05 -s superslabs
is "$(sed -n '2p;3p;8,10p' <<<"$out" | tr -s ' ')" \
    "NO FROM STATE USED FREE FULL% SLABS BY CLASS TENTHS FULL
 0 0 live 64 0 50.0 0000000000000000000000000000000000000000000000000000000000000000 ?000000011111112222222333333344444445555555666666677777778888888
 2 64 live 59 5 53.9 .....77777777777777777777777777777777777777777777777777777777777 00111111122222223333333444444445555555666666677777778888888
 3 0 LRU 0 0 - ---------------------------------------------------------------- 
 3 64 LRU 0 0 - ---------------------------------------------------------------- " 'as text'
run --csv -n 1 -d 0.05 -s superslabs
is "$(sed -n 7p <<<"$out" | cut -d, -f2,4-)" "$pid,2,64,live,59,5,0.539370,.....77777777777777777777777777777777777777777777777777777777777,     00111111122222223333333444444445555555666666677777778888888" \
    'as CSV: the upper half of the third SuperSlab'
is "$(head -1 <<<"$out")" time_ns,pid,interval_ns,superslab,first_slab,state,slabs_used,slabs_free,full_part,slabs,tenths 'by these names'
stop "$pid"
start corrupt=map_half
run -j -n 1 -d 0.05 -s superslabs
is "$(jq -c '[.superslabs[] | [.superslab, .first_slab, .state, .slabs_used, .slabs_free]]' <<<"$out")" \
    '[[0,0,"live",64,0],[1,0,"live",62,2],[2,0,"live",60,4],[3,0,"LRU",0,0]]' 'slabs that nothing is known of are no row'

# A thread that moves, by a hundred allocations and then a hundred frees; a sample may come in between,
# and its time must be long enough for the thread to get a CPU.
stop "$pid"
start threads=2 busy=1
run -j -n 1 -d 1
is "$(jq -c '.classes[1] | .allocs > 0 and .allocs == .fast_cache_hits and (.allocs - .frees | fabs) <= 100 and .fast_cache_part == 1' <<<"$out")" \
    true 'only FastCache hits of C1 in this interval: its share is 1, not that since the start'
run -j -n 1 -d 1 -s threads
is "$(jq -c '[.threads[].state]' <<<"$out")" '["busy","idle"]' 'busy and idle threads'

# Several processes, a name, an end.
first=$pid
start threads=1 busy=1
fails 2 null "2 processes under libhakmem; choose with -p PID: $(printf '%s\n' "$first" "$pid" | sort -n | sed 's/$/ (fixture_segment)/' | paste -sd, | sed 's/,/, /')"
fails 3 null "no process named 'redis*' under libhakmem; start one with 'hakctl run -- COMMAND'" -c 'redis*'
stop "$first"
run -j -n 1 -d 0.05 -c 'fix*'
is "$code|$(jq .pid <<<"$out")" "0|$pid" '-c finds it by its name'
rm -f "$tmp/out"
"$hakstat" -b -d 0.05 -p "$pid" >"$tmp/out" 2>"$tmp/err" &
watcher=$!
wait_until grep -q CLASS "$tmp/out" || bail 'no sample'
stop "$pid"
wait "$watcher"
is "$?|$(cat "$tmp/err")" "3|hakstat: pid $pid: the process has ended" 'it ends with the process, and says so'
fails 3 "$pid" "the process has ended; 'hakctl stats -p $pid' shows its last figures" -p "$pid"

# --follow: waits, goes on with the next.
"$hakstat" -j -d 0.05 --follow 'fixture*' >"$tmp/out" 2>"$tmp/err" &
watcher=$!
tap_pids+=("$watcher")
pids_seen() { jq -r .pid "$tmp/out" | uniq | paste -sd' '; }
saw() { [ "$(pids_seen)" = "$1" ]; }
start threads=1
ok '--follow: waits for a process of that name' wait_until saw "$pid"
first=$pid
stop "$pid"
start threads=2
ok '--follow: goes on with the next one' wait_until saw "$first $pid"
is "$(tail -1 "$tmp/out" | jq .threads)" 2 'and shows it'
kill "$watcher"
stop "$pid"
start abi=2
fails 7 "$pid" 'its segment has ABI 2, this tool knows ABI 1' -p "$pid"
stop "$pid"

# A reader that has had enough.
start threads=1
set -o pipefail
"$hakstat" -b -d 0.01 -p "$pid" 2>"$tmp/err" | head -1 >/dev/null
is "${PIPESTATUS[0]}|$(cat "$tmp/err")" '141|' 'it ends without a word when its reader has gone'
"$hakstat" -b -n 1 -d 0.01 -p "$pid" >/dev/full 2>"$tmp/err"
is "$?|$(cat "$tmp/err")" "1|hakstat: pid $pid: standard output: No space left on device" 'a full disk is an error'
done_testing
