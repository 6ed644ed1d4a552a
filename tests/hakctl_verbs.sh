# hakctl_verbs.sh: the verbs and options of hakctl beyond the basic ones (hakctl.sh): describe, reset,
# diff, save and load, watch, trace, the ways to set, metrics, and what sysctl's users type.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/lockstep.sh"
. "$HAK_SRC/tests/puppet.sh"
need python3 python3
need promtool prometheus

fixture=$HAK_BUILD/tests/fixture_segment
mask=tiny.heap_v2.class_mask
start() {
    rm -f "$tmp/pid"
    in_background "$fixture" "$@" >"$tmp/pid"
    wait_until test -s "$tmp/pid" || bail "fixture_segment $* did not start"
    pid=$(cat "$tmp/pid")
}
stop() {
    kill -KILL "$@"
    wait "$@" 2>/dev/null
    rm -f /dev/shm/hakmem.*
}
run() {
    out=$("$hakctl" "$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}
json() { python3 -c 'import json, sys; d = json.loads(sys.argv[1]); print(eval(sys.argv[2]))' "$out" "$1"; }
fails() {   # CODE PID MESSAGE ARGUMENT...
    local want=$1 who=$2 text=$3 prefix=
    shift 3
    [ "$who" = - ] || prefix="pid $who: "
    run "$@"
    is "$code|$out|$err" "$want||hakctl: $prefix$text" "hakctl $*: $want, $text"
    [ "$who" = - ] && who=null
    run -j "$@"
    is "$code|$out|$err" "$want|{\"error\":{\"code\":$want,\"message\":\"$text\",\"pid\":$who}}|" \
        "hakctl -j $*: the same as JSON"
}

# ---- Usage ----

fails 2 - 'usage: hakctl describe GLOB...' describe
fails 2 - 'usage: hakctl diff' diff x
fails 2 - 'usage: hakctl save FILE|-' save
fails 2 - 'usage: hakctl load FILE|-' load a b
fails 2 - 'usage: hakctl watch GLOB...' watch
fails 2 - 'usage: hakctl trace [--count N]' trace x
fails 2 - 'watch: one process only, not -a' watch x -a
fails 2 - 'save: one process only, not -a' save x -a
for bad in x '' -1 86401 nan; do
    fails 2 - "--wait: $bad is not a number of seconds from 0 to 86400" set a=1 --wait "$bad"
done
fails 2 - '--revert-after: 0 is not a number of seconds from 0.001 to 86400' set a=1 --revert-after 0
fails 2 - '-i: 0 is not a number of seconds from 0.01 to 86400' watch x -i 0
fails 2 - '--count: 0 is not a number above 0' watch x --count 0
fails 2 - '--sort: size is not pid, name, threads, live, generation or state' ps --sort size
fails 2 - 'get: takes no --dry-run' get x --dry-run
fails 2 - 'stats: takes no --wait' stats --wait 1
run -j stats --prometheus
is "$code|$out" '2|{"error":{"code":2,"message":"stats: either -j or --prometheus","pid":null}}' 'two formats'

# ---- Knobs ----

start threads=3 busy=2
run describe $mask tiny.bump_chunk tiny.heap_v2.enable
is "$code|$out" "0|$mask
  Classes that have a TinyHeapV2 magazine: bit i is class Ci, so 0xE is C1 to C3 (16, 32 and 64 bytes).
  value    0xFF, from default
  default  0xFF
  type     mask
  range    0x0..0xFF
  context  live
  env      HAKMEM_TINY_HEAP_V2_CLASS_MASK

tiny.bump_chunk
  Most blocks that one refill carves from the untouched end of a slab.
  value    256, from default
  default  256
  type     uint, in blocks
  range    1..256
  context  live
  env      HAKMEM_TINY_BUMP_CHUNK

tiny.heap_v2.enable
  Whether TinyHeapV2 (L0), the per-thread magazine in front of FastCache, is used at all.
  value    1, from default
  default  1
  type     bool
  range    0..1
  context  live
  env      HAKMEM_TINY_HEAP_V2_ENABLE, HAKMEM_TINY_HEAP_V2" 'describe'
fails 5 $pid 'tiny.heap_v2.enabled: no such knob, the nearest is tiny.heap_v2.enable' describe tiny.heap_v2.enabled
run diff
is "$code|$out" '0|' 'diff: nothing'
run reset --all
is "$code|$out" '0|' 'reset --all: nothing to do'
run set --dry-run $mask=0xE tiny.inline_sll=1
is "$code|$out" "0|$mask: 0xFF -> 0xE (dry run)
tiny.inline_sll: 0 -> 1 (dry run)" 'set --dry-run'
run -j set --dry-run $mask=0xE
is "$out" "{\"pid\":$pid,\"comm\":\"fixture_segment\",\"dry_run\":true,\"changes\":[{\"name\":\"$mask\",\"old\":255,\"new\":14}]}" \
    'set --dry-run -j'
fails 5 $pid 'os.thp: startup knob; start the process with HAKMEM_OS_THP=...; nothing changed' set --dry-run os.thp=1
fails 5 $pid "$mask: 256 out of range [0x0, 0xFF]; nothing changed" set --dry-run $mask=256
run ps
like "$out" ' 0 running$' 'a dry run makes no generation'
run set $mask=0xE tiny.bump_chunk=32
run diff
is "$out" "$mask: 0xFF -> 0xE (default)
tiny.bump_chunk: 256 -> 32 (default)" 'diff: from the defaults'
run reset tiny.bump_chunk
is "$out" 'tiny.bump_chunk: 32 -> 256 (generation 2, applied by 2/2 threads, 1 idle)' 'reset'
fails 5 $pid 'pool.lru: no such knob; nothing changed' reset pool.lru
fails 5 $pid 'os.thp: startup knob; start the process with HAKMEM_OS_THP=...; nothing changed' reset os.thp
run reset --dry-run --all
is "$out" "$mask: 0xE -> 0xFF (dry run)" 'reset --dry-run --all'
run reset --all
is "$out" "$mask: 0xE -> 0xFF (generation 3, applied by 2/2 threads, 1 idle)" 'reset --all'

run set --no-wait tiny.inline_sll=1
like "$out" '^tiny.inline_sll: 0 -> 1 \(generation 4, applied by [0-9]/[0-9] threads, [0-9] idle\)$' 'set --no-wait'
run set --revert-after 2.5 tiny.bump_chunk=8
is "$out" 'tiny.bump_chunk: 256 -> 8 (generation 5, applied by 2/2 threads, 1 idle; reverts after 2.5 s)' 'set --revert-after'
run -j set --revert-after 1 tiny.bump_chunk=8
is "$(json 'd["revert_after_ms"]')" 1000 'set --revert-after -j'
run set -q tiny.bump_chunk=9
is "$code|$out" '0|' 'set -q'
run -e set no.such=1 tiny.bump_chunk=10 also.none=2
is "$code|$out" '0|tiny.bump_chunk: 9 -> 10 (generation 8, applied by 2/2 threads, 1 idle)' 'set -e: unknown names are skipped'
fails 5 $pid 'tiny.bump_chunk: 0 out of range [1, 256]; nothing changed' set -e no.such=1 tiny.bump_chunk=0
run -e set no.such=1
is "$code|$out" '0|' 'set -e: nothing is left'
run -e get no.such tiny.bump_chunk
is "$code|$out" '0|tiny.bump_chunk = 10' 'get -e'
run -e reset no.such tiny.bump_chunk
is "$code|$out" '0|tiny.bump_chunk: 10 -> 256 (generation 9, applied by 2/2 threads, 1 idle)' 'reset -e'
run -w tiny.bump_chunk=11
is "$code|$out" '0|tiny.bump_chunk: 256 -> 11 (generation 10, applied by 2/2 threads, 1 idle)' '-w alone sets'
run -qw tiny.bump_chunk=12 tiny.inline_sll=0
is "$code|$out" '0|' '-qw'
run -n tiny.bump_chunk tiny.inline_sll
is "$code|$out" $'0|12\n0' '-n alone gets'
fails 2 - 'no verb; see hakctl --help' -w

# ---- Profiles ----

run save "$tmp/profile"
is "$code|$out" "0|saved $(grep -c '^KNOB(' "$HAK_SRC/abi/knobs.def") knobs to $tmp/profile" 'save'
is "$(grep -n 'bump_chunk\|class_mask\|shm' "$tmp/profile" | cut -d: -f2)" "$mask = 0xFF
tiny.bump_chunk = 12
shm.mode = 0600" 'a line a knob'
is "$(head -1 "$tmp/profile")" "# Knobs of pid $pid (fixture_segment), libhakmem 9.8.7, generation 11" 'and who it was'
run save -
is "$code|$out" "0|$(cat "$tmp/profile")" 'save -'
run -j save -
is "$code|$(json 'd["values"]["tiny.bump_chunk"], d["file"], len(d["values"])')" \
    "0|(12, '-', $(grep -c '^KNOB(' "$HAK_SRC/abi/knobs.def"))" 'save - -j'
fails 1 $pid '/no/such/dir/x: No such file or directory' save /no/such/dir/x
is "$(ls "$tmp" | grep -c '^profile')" 1 'no other file is left'
run reset --all
run load "$tmp/profile"
is "$code|$out" '0|tiny.bump_chunk: 256 -> 12 (generation 13, applied by 2/2 threads, 1 idle)' 'load: what differs is shown'
printf '\n  # a comment\n\t tiny.bump_chunk=0x10 \t\r\n\n%s = 0x7' $mask | "$hakctl" load - >"$tmp/out"
is "$?|$(cat "$tmp/out")" "0|tiny.bump_chunk: 12 -> 16 (generation 14, applied by 2/2 threads, 1 idle)
$mask: 0xFF -> 0x7 (generation 14, applied by 2/2 threads, 1 idle)" 'load -: blanks, comments, the last line without an end'
printf 'tiny.bump_chunk = 17 # a comment\n%s = 0x5\t#another # one\n' $mask | "$hakctl" load - --dry-run >"$tmp/out"
is "$?|$(cat "$tmp/out")" "0|tiny.bump_chunk: 16 -> 17 (dry run)
$mask: 0x7 -> 0x5 (dry run)" 'load -: comments after values'
# bad_profile TEXT MESSAGE
bad_profile() {
    printf "$1" >"$tmp/bad"
    fails 5 $pid "$tmp/bad:$2; nothing changed" load "$tmp/bad"
}
bad_profile 'tiny.bump_chunk = 3\n\nfront' '3: front: not name = value'
bad_profile "# x\n$mask = 0x100\n" "2: $mask: 0x100 out of range [0x0, 0xFF]"
bad_profile 'tiny.bump_chunk = 3#4\n' '1: tiny.bump_chunk: 3#4 is not a number'
bad_profile 'tiny.bump_chunk = # 4\n' '1: tiny.bump_chunk: an empty value is not a number'
bad_profile 'tiny.bump_chunk =\n' '1: tiny.bump_chunk: an empty value is not a number'
bad_profile 'tiny.bump_chunk = 3\ntiny.bump_chnk = 3' '2: tiny.bump_chnk: no such knob, the nearest is tiny.bump_chunk'
bad_profile 'tiny.bump_chunk = 3\ntiny.bump_chunk = 3' '2: tiny.bump_chunk: given twice'
bad_profile 'os.thp = 5' '1: os.thp: startup knob; start the process with HAKMEM_OS_THP=...'
fails 1 $pid "$tmp/none: No such file or directory; nothing changed" load "$tmp/none"
fails 1 $pid "$tmp: Is a directory; nothing changed" load "$tmp"
head -c 70000 /dev/zero | tr '\0' '\n' >"$tmp/large"
fails 1 $pid "$tmp/large: File too large; nothing changed" load "$tmp/large"
run get -n tiny.bump_chunk $mask
is "$out" $'16\n0x7' 'nothing was changed by any of these'
run load --dry-run "$tmp/profile"
is "$out" "$mask: 0x7 -> 0xFF (dry run)
tiny.bump_chunk: 16 -> 12 (dry run)" 'load --dry-run'

# ---- Samples ----

run watch -i 0.1 --count 3 'C1.fast_cache_*' superslabs_live
is "$code|$(wc -l <<<"$out")" '0|4' 'watch: a head and three lines'
is "$(head -1 <<<"$out")" 'TIME       C1.fast_cache_hits   C1.fast_cache_pushes   superslabs_live' 'watch: the head'
like "$(tail -1 <<<"$out")" '^[0-9:]{8} +([1-9][0-9]*)/s +[1-9][0-9]*/s +7$' 'watch: rates, and a gauge as it stands'
run -j watch -i 0.1 --count 2 fast_cache_hits superslabs_live slow_allocs
is "$code|$(wc -l <<<"$out")" '0|2' 'watch -j: two lines'
out=$(tail -1 <<<"$out")
is "$(json '(sorted(d), d["rates"]["slow_allocs"], d["values"]["superslabs_live"], d["rates"]["fast_cache_hits"] > 0, "superslabs_live" in d["rates"], d["values"]["slow_allocs"])')" \
    "(['comm', 'pid', 'rates', 'seconds', 'time_ns', 'values'], 0.0, 7, True, False, 6276)" 'watch -j: a line'
fails 5 $pid 'slow_alloc: no such counter, the nearest is slow_allocs' watch slow_alloc
fails 5 $pid 'C9.ticks: no such counter, the nearest is ticks' watch --count 1 C9.ticks
run ps --sort pid
start threads=5
first=$pid
start threads=1
run ps --sort threads
is "$(awk 'NR > 1 { print $3 }' <<<"$out" | tr '\n' ' ')" '5 3 1 ' 'ps --sort threads'
run ps --sort live
is "$(awk 'NR > 1 { print $3 }' <<<"$out" | tr '\n' ' ')" '5 3 1 ' 'ps --sort live'
run ps --sort generation
is "$(awk 'NR == 2 { print $6 }' <<<"$out")" 14 'ps --sort generation'
run ps --sort name
is "$code|$(wc -l <<<"$out")" '0|4' 'ps --sort name'

# ---- Metrics ----

check_metrics() {   # PYTHON, with `sum_of(name, **labels)` and d, the JSON of -j stats -a
    /usr/bin/python3 - "$tmp/prometheus" "$tmp/openmetrics" "$tmp/json" "$1" <<'END'
import json, sys
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
d = json.load(open(sys.argv[3]))['processes']
results = []
for path, parse in (sys.argv[1], plain), (sys.argv[2], openmetrics):
    samples = [s for f in parse(open(path).read()) for s in f.samples]
    def sum_of(name, **labels):
        return int(sum(s.value for s in samples if s.name == 'hakmem_' + name
                       and all(s.labels[k] == v for k, v in labels.items())))
    results.append(eval(sys.argv[4]))
print(*results)
END
}
kill -STOP $(pgrep -x fixture_segment)
"$hakctl" stats -a --prometheus >"$tmp/prometheus"
is $? 0 'stats --prometheus -a'
"$hakctl" stats -a --openmetrics -o "$tmp/openmetrics"
is $? 0 'stats --openmetrics -o FILE'
"$hakctl" stats -a -j >"$tmp/json"
is "$(promtool check metrics <"$tmp/prometheus" 2>&1)" '' 'promtool finds nothing to say'
is "$(tail -1 "$tmp/openmetrics")" '# EOF' 'OpenMetrics ends with # EOF'
for member in allocs frees heap_v2_hits fast_cache_hits slow_allocs remote_frees realloc_in_place; do
    is "$(check_metrics "sum_of('${member}_total') == sum(c['$member'] for p in d for c in p['classes'])")" \
        'True True' "$member: the sums of both are those of -j stats"
done
for member in live_bytes:live_bytes live:live_blocks inherited:inherited_blocks waste_bytes_estimate:estimated_waste_bytes; do
    is "$(check_metrics "sum_of('${member#*:}') == sum(c['${member%:*}'] or 0 for p in d for c in p['classes'])")" \
        'True True' "${member%:*}: likewise"
done
is "$(check_metrics "[n for n in d[0]['counters'] if n not in d[0]['classes'][0] and
    sum_of(n + '_total') + sum_of(n) != sum(p['counters'][n] for p in d)]")" '[] []' 'every other counter too'
is "$(check_metrics "[n for n in d[0]['latencies'] if
    sum_of(n + '_latency_seconds_bucket', le='+Inf') != sum(sum(p['latencies'][n]) for p in d)]")" \
    '[] []' 'every histogram'
is "$(check_metrics "sum_of('allocs_total', **{'class': 'C1', 'pid': '$first'})")" '900 900' 'labels: pid and class'
is "$(check_metrics "sum_of('build_info', version='9.8.7', comm='fixture_segment')")" '3 3' 'labels: comm and version'
is "$(check_metrics "sum_of('refill_latency_seconds_bucket', le='6.3e-08', pid='$first')")" '285 285' 'buckets'
is "$(grep -c '^# UNIT hakmem_[a-z_]*_bytes bytes$' "$tmp/openmetrics")" \
    "$(grep -c '^# TYPE hakmem_[a-z_]*_bytes ' "$tmp/openmetrics")" 'OpenMetrics: units of bytes'
run stats -a --prometheus -o /no/such/dir/x
is "$code|$out|$err" '1||hakctl: /no/such/dir/x: No such file or directory' 'a directory that is not there'
kill -CONT $(pgrep -x fixture_segment)
stop $(pgrep -x fixture_segment)

# ---- gc --dry-run ----

start
kill -KILL $pid
wait $pid 2>/dev/null
name=$(cd /dev/shm && ls)
run gc --dry-run
is "$code|$out|$(ls /dev/shm)" "0|would remove $name (fixture)|$name" 'gc --dry-run'
run -j gc --dry-run
is "$(json 'd["dry_run"], d["removed"][0]["file"]')" "(True, '$name')" 'gc --dry-run -j'
run describe -p $pid $mask
is $code 0 'describe works on the dead'
run save -p $pid -
is $code 0 'so does save'
run trace -p $pid
is "$code|$out|$err" "0||hakctl: pid $pid: nothing has been recorded" 'so does trace'
rm -f /dev/shm/*

# ---- With the library ----

puppet_start
run trace
off="hakctl: pid $puppet: nothing is being recorded; switch it on with 'hakctl set -p $puppet trace.ring=1'"
is "$code|$out|$err" "0||$off" 'trace: off, and no head to an empty table'
run set --no-wait trace.ring=1
order pairs 0 64 5000
order alloc 0 64 1000
run trace
like "$code|$out|$err" $'^0\| +MONOTONIC_S +TID EVENT .*\n +[0-9]+\.[0-9]{6} +'$puppet$' refill +C3 +64 +[0-9]+.*\|$' 'trace: a refill'
run -j trace --count 2
is "$(json 'd["trace_on"], len(d["records"]), d["records"][1]["number"] - d["records"][0]["number"], d["records"][0]["tid"]')" \
    "(True, 2, 1, $puppet)" 'trace -j --count'
like "$("$hakctl" describe trace.ring)" "value    1, from hakctl \(pid [0-9]+, uid $(id -u), 20[0-9-]+ [0-9:]+\)" \
    'describe: who set it'
run diff
is "$out" 'trace.ring: 0 -> 1 (hakctl)' 'diff: where from'
run -j describe trace.ring
is "$(json 'd["knobs"][0]["from"], d["knobs"][0]["changed"]["uid"], sorted(d["knobs"][0]["changed"])')" \
    "('hakctl', $(id -u), ['pid', 'time_ns', 'uid'])" 'describe -j'
run set --no-wait trace.ring=0
order pairs 0 64 5000
run trace
like "$code|$err|$out" $'^0\|'"$off"$'\| +MONOTONIC_S .*\n.* knob apply .*' 'trace: off again: what was recorded is there'

# hakctl is gone at once; the process puts the value back by itself.
run set --no-wait --revert-after 1.5 tiny.bump_chunk=5
order pairs 0 64 5000
run get -n tiny.bump_chunk
is "$out" 5 'set for 1.5 seconds'
sleep 1.6
run get -n tiny.bump_chunk
is "$out" 5 'nothing happens while it does nothing'
order pairs 0 64 5000
run get -n tiny.bump_chunk
is "$out" 256 'its next tick after that time puts it back'
run describe tiny.bump_chunk
like "$out" 'value    256, from revert ' 'describe says so'
run -j watch -i 0.05 --count 1 C3.heap_v2_hits
is "$(json 'd["rates"]["C3.heap_v2_hits"]')" 0.0 'watch: an idle process'
rm -f "$tmp/out"                        # what an earlier command printed is not this one's
"$hakctl" watch -i 0.05 ticks >"$tmp/out" 2>"$tmp/err" &
watcher=$!
wait_until grep -q / "$tmp/out"
gone=$puppet
puppet_end
wait $watcher
is "$?|$(cat "$tmp/err")" "3|hakctl: pid $gone: the process has ended" 'watch ends with the process'
done_testing
