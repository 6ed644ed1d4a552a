# hakctl.sh: every verb and every error of hakctl, against segments made by tests/fixture_segment,
# whose figures are known.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/lockstep.sh"
need python3 python3

fixture=$HAK_BUILD/tests/fixture_segment
mask=tiny.heap_v2.class_mask

# start ARGUMENT...: a fixture; its pid is in $pid.
start() {
    rm -f "$tmp/pid"
    in_background "$fixture" "$@" >"$tmp/pid"
    wait_until test -s "$tmp/pid" || bail "fixture_segment $* did not start"
    pid=$(cat "$tmp/pid")
}
stop() {    # PID...: their segments stay
    kill -KILL "$@"
    wait "$@" 2>/dev/null
}
# run ARGUMENT...: hakctl; $out, $err and $code.
run() {
    out=$("$hakctl" "$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}
# json EXPRESSION: of the JSON in $out, which is d in it.
json() { python3 -c 'import json, sys; d = json.loads(sys.argv[1]); print(eval(sys.argv[2]))' "$out" "$1"; }
# fails CODE PID MESSAGE ARGUMENT...: in text, and the same in JSON (PID -: none).
fails() {
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

none="no process under libhakmem; start one with 'hakctl run -- COMMAND'"
fails 2 - 'no verb; see hakctl --help'
fails 2 - 'sett: no such verb, the nearest is set; see hakctl --help' sett a=1
fails 2 - 'frobnicate: no such verb; see hakctl --help' frobnicate
fails 2 - '-x: unknown option' ps -x
fails 2 - '--frob: unknown option' ps --frob
fails 2 - '-x: unknown option' --comm x -xq ps
fails 2 - '--pid: needs an argument' ps -p
fails 2 - '--pid: needs an argument' ps --pid
fails 2 - '--json: takes no argument' ps --json=1
fails 2 - '--qq: unknown option' --quiet --qq set a=1
for bad in 0 -3 12x '' 99999999999; do
    fails 2 - "-p: $bad is not a process id" stats -p "$bad"
done
fails 2 - 'usage: hakctl get [-n] GLOB...' get
fails 2 - 'usage: hakctl set NAME=VALUE...' set
fails 2 - 'usage: hakctl ps [--sort KEY]' ps more
fails 2 - 'usage: hakctl list' list more
fails 2 - 'usage: hakctl stats [--check]' stats more
fails 2 - 'usage: hakctl purge' purge more
fails 2 - 'usage: hakctl gc [--dry-run]' gc more
fails 2 - 'usage: hakctl run [NAME=VALUE...] -- COMMAND...' run
bare='a command comes after --: hakctl run [NAME=VALUE...] --'
fails 2 - "true: $bare true" run "$mask=1" true
fails 2 - "redis-server: $bare redis-server" run redis-server --version
fails 2 - "ls: $bare ls" run "$mask=1" ls -l --no-such-option -p
fails 2 - 'run: takes no -p' run -p 5 -- true
fails 2 - 'run: takes no -c' -c x run -- true
fails 2 - 'run: takes no -a' -a run -- true
fails 2 - 'stats: either --prometheus or --openmetrics' stats --prometheus --openmetrics
fails 2 - 'usage: hakctl run [NAME=VALUE...] -- COMMAND...' run "$mask=1" --
fails 2 - 'usage: hakctl reset NAME...|--all' reset
fails 2 - 'usage: hakctl reset NAME...|--all' reset "$mask" --all
fails 2 - 'usage: hakctl ps [--sort KEY]' ps -- more
fails 2 - 'front: not NAME=VALUE' set front
fails 2 - 'front: not NAME=VALUE' set "$mask=1" front
fails 2 - 'front: not NAME=VALUE' -w front
fails 2 - 'front: not NAME=VALUE' run front -- true
fails 2 - 'front: not NAME=A,B' trial front
fails 2 - 'stats: --output goes with --prometheus or --openmetrics' stats -o x
fails 2 - 'list: takes no --values' list -n
fails 2 - 'get: takes no --check' get --check x
run --version
like "$code $out" '^0 hakctl [0-9]+\.[0-9]+\.[0-9]+$' '--version'
run --help
is "$code $err" '0 ' '--help succeeds'
for verb in ps list describe get set reset diff save load stats watch trace purge gc run; do
    like "$out" "
  $verb " "--help names $verb"
done
run --help stats
is "$code|$out|$err" "0|usage: hakctl stats [--check]

Calls by class, counters, latencies; of dead processes too.

Its own options:
      --check             test the conservation laws
      --prometheus        in Prometheus' text format
      --openmetrics       in OpenMetrics' text format
  -o, --output FILE       to a file, which appears whole

The options of every verb: hakctl --help.  See hakctl(1).|" '--help stats: that of the verb'
run list --help
is "$code|$out|$err" '0|usage: hakctl list

Knobs with value, default, range, context and help.

The options of every verb: hakctl --help.  See hakctl(1).|' 'list --help: it has no options of its own'
general=" $("$hakctl" complete -- -- | cut -f1 | xargs) "
for verb in $("$hakctl" complete -- '' | cut -f1); do
    run $verb --help
    is "$code|$(head -1 <<<"$out")|$err" "0|$("$hakctl" $verb $verb -- 2>&1 | sed 's/^hakctl: //')|" "$verb --help: the usage"
    takes=$(for option in $("$hakctl" complete -- $verb -- | cut -f1); do
        [[ $general == *" $option "* ]] || echo $option
    done | xargs)
    is "$(grep -oE '^ .*--[a-z-]+' <<<"$out" | grep -oE -- '--[a-z-]+$' | xargs)" "$takes" "$verb --help: its options${takes:+, }$takes"
done
fails 2 - 'sett: no such verb, the nearest is set; see hakctl --help' sett --help
run -w a=1 --help
is "$code|$(head -1 <<<"$out")" '0|usage: hakctl set NAME=VALUE...' '--help without a verb, but -w: that of set'

# ---- No process ----

for verb in list 'get x' 'set x=1' stats purge; do
    fails 3 - "$none" $verb
    fails 3 - "$none" $verb -a
    fails 3 - "no process named 'fix*' under libhakmem; start one with 'hakctl run -- COMMAND'" \
        $verb -c 'fix*'
done
sleep 0 & gone=$!
wait $gone
fails 3 $gone 'no such process' stats -p $gone
fails 3 $$ "not under libhakmem; start it with 'hakctl run -- COMMAND'" stats -p $$
fails 3 $$ "not under libhakmem; start it with 'hakctl run -- COMMAND'" -p $$ set $mask=1
LD_PRELOAD=$HAK_BUILD/.libs/libhakmem.so HAKMEM_EXPORT=0 in_background sleep 1000
wait_until grep -q libhakmem "/proc/$!/maps"
fails 3 $! 'under libhakmem, but without a segment: HAKMEM_EXPORT is 0, or HAKMEM_VERBOSE=1 says why at its start' stats -p $!
fails 3 $gone 'no such process' ps -p $gone
fails 3 $$ "not under libhakmem; start it with 'hakctl run -- COMMAND'" -p $$ ps
fails 3 - "no process named 'fix*' under libhakmem; start one with 'hakctl run -- COMMAND'" ps -c 'fix*'
run ps
is "$code|$out" '0|    PID NAME            THREADS       LIVE GENERATION STATE' 'ps: no process'
run -j ps
is "$code|$out" '0|{"processes":[]}' 'ps -j: no process'

# ---- One process that is idle ----

start threads=3 uncounted=0 inherited=7
run ps
is "$code|$out" "0|    PID NAME            THREADS       LIVE GENERATION STATE
$(printf '%7d' $pid) fixture_segment       3   61.6 MiB          0 running" 'ps: one process'
run -j ps
is "$code|$(json 'd["processes"] == [dict(pid='$pid', comm="fixture_segment", uid=0, state="running", threads=3, live_bytes=64549016, generation=0)]')" \
    '0|True' 'ps -j'

run get $mask
is "$code|$out|$err" "0|$mask = 0xFF|" 'get: a mask in hexadecimal'
run get -n $mask shm.mode tiny.sll.drain_interval
is "$code|$out" $'0|0xFF\n0600\n2048' 'get -n: values only, each as it is written'
run -n -p $pid get 'tiny.p0.*'
is "$code|$out" $'0|1\n0' 'options before the verb, a glob'
run -j get 'tiny.p0.*'
is "$out" "{\"pid\":$pid,\"comm\":\"fixture_segment\",\"values\":{\"tiny.p0.drain_thresh\":1,\"tiny.p0.no_drain\":0}}" \
    'get -j'
fails 5 $pid 'tiny.heap_v2.clas_mask: no such knob, the nearest is tiny.heap_v2.class_mask' \
    get tiny.heap_v2.clas_mask
fails 5 $pid 'class_mask: no such knob, the nearest is tiny.heap_v2.class_mask' get class_mask
fails 5 $pid 'zzz*: no such knob' get 'zzz*' -p $pid
fails 5 $pid 'zzz*: no such knob' get $mask 'zzz*'
fails 5 $pid "tiny: no such knob, but 'tiny*' matches $(grep -c '"tiny\.' "$HAK_SRC/abi/knobs.def")" get tiny
fails 5 $pid "os: no such knob, but 'os*' matches $(grep -c '"os\.' "$HAK_SRC/abi/knobs.def")" describe os

run list
is "$code|$(head -3 <<<"$out" | cut -c1-108)" "0|NAME                         VALUE     DEFAULT   RANGE          CONTEXT FROM    HELP
tiny.heap_v2.enable          1         1         0..1           live    default Whether TinyHeapV2 (L0), the
tiny.heap_v2.class_mask      0xFF      0xFF      0x0..0xFF      live    default Classes that have a TinyHeap" 'list'
is "$(tail -n +2 <<<"$out" | wc -l)" "$(grep -c '^KNOB(' "$HAK_SRC/abi/knobs.def")" 'list: a line a knob'
run -j list
is "$(json '[k for k in d["knobs"] if k["name"] == "'$mask'"][0]["max"], len(d["knobs"]), d["env_errors"], d["generation"]')" \
    "(255, $(grep -c '^KNOB(' "$HAK_SRC/abi/knobs.def"), 0, 0)" 'list -j'
is "$(json 'd["knobs"][1] == dict(name="'$mask'", value=0xFF, default=0xFF, min=0, max=0xFF, type="mask", unit="", context="live", env="HAKMEM_TINY_HEAP_V2_CLASS_MASK", alias="", help=d["knobs"][1]["help"], **{"from": "default"})')" \
    True 'list -j: all of a knob'

run stats
is "$code|$(sed -n 1,16p <<<"$out")" "0|pid $pid (fixture_segment), running, libhakmem 9.8.7, 3 threads, generation 0, exact

CLASS SIZE_MAX         ALLOCS          FREES        LIVE     LIVE_BYTES       WASTE    L0%    L1%  SLOW%
C0           8            360            204         163           1304           -   16.7   50.0   33.3
C1          16            360            204         156           2496        ~624   16.7   50.0   33.3
C2          32            360            204         156           4992       ~1248   16.7   50.0   33.3
C3          64            720            408         312          17472       ~4368   16.7   50.0   33.3
C4         128           1440            816         624          64896      ~16224   16.7   50.0   33.3
C5         256           1440            816         624         129792      ~32448   16.7   50.0   33.3
C6         512           1440            816         624         259584      ~64896   16.7   50.0   33.3
C7        1024           1440            816         624         519168     ~129792   16.7   50.0   33.3
mid      32768          11160           6324        4836       50349312   ~12587328   16.7   50.0   33.3
large  1048576             18              6          12        1200000           -    0.0    0.0  100.0
huge         -             18              6          12       12000000           -    0.0    0.0  100.0
total        -          18756          10620        8143       64549016   ~12836928   16.6   49.9   33.5" 'stats: the table of classes'
like "$out" $'\nheap_v2_hits +3120\nfast_cache_hits +9360\nslow_allocs +6276\n' 'stats: counters'
like "$out" $'\nsuperslabs_peak +11\n' 'stats: those of the process too'
like "$out" $'\nrefill +120 +<64 +<2048 +<2048\n' 'stats: latencies'
run -j stats
is "$(json 'sorted(d) == sorted("pid comm version state generation threads exact time_ns uptime_ns classes counters latencies".split())')" \
    True 'stats -j: its members'
is "$(json 'd["pid"], d["comm"], d["version"], d["state"], d["generation"], d["threads"], d["exact"]')" \
    "($pid, 'fixture_segment', '9.8.7', 'running', 0, 3, True)" 'stats -j: the process'
is "$(json '0 < d["uptime_ns"] < 600e9, abs(d["time_ns"] - __import__("time").time_ns()) < 600e9')" \
    '(True, True)' 'stats -j: times'
is "$(json '[c["class"] for c in d["classes"]]')" \
    "['C0', 'C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7', 'mid', 'large', 'huge']" 'stats -j: classes'
is "$(json 'd["classes"][0] == {"class": "C0", "size_max": 8, "allocs": 360, "frees": 204, "heap_v2_hits": 60, "fast_cache_hits": 180, "slow_allocs": 120, "remote_frees": 24, "realloc_in_place": 0, "inherited": 7, "live": 163, "live_bytes": 1304, "waste_bytes_estimate": None}')" \
    True 'stats -j: a class'
is "$(json 'd["classes"][10]["size_max"], d["classes"][10]["live_bytes"]')" '(None, 12000000)' 'stats -j: huge'
is "$(json '[c["waste_bytes_estimate"] for c in d["classes"]][:3]')" '[None, 624, 1248]' \
    'stats -j: waste where something was sampled'
is "$(json 'd["counters"]["ticks"], d["counters"]["remote_frees"], d["counters"]["superslabs_live"]')" \
    '(42, 1248, 7)' 'stats -j: counters'
is "$(json 'd["latencies"]["refill"][5], d["latencies"]["refill"][10], sum(d["latencies"]["refill"])')" \
    '(114, 6, 120)' 'stats -j: histograms'

run set $mask=0xE
is "$code|$out|$err" "0|$mask: 0xFF -> 0xE (generation 1, applied by 0/0 threads, 3 idle)|" \
    'set, all threads idle: done, and pending'
run set tiny.inline_sll=1 tiny.bump_chunk=7
is "$code|$out" "0|tiny.inline_sll: 0 -> 1 (generation 2, applied by 0/0 threads, 3 idle)
tiny.bump_chunk: 256 -> 7 (generation 2, applied by 0/0 threads, 3 idle)" 'set: another one on top'
run purge
is "$code|$out" '0|pending: all threads are idle; the next that moves purges' 'purge, all threads idle'
run -j purge
is "$code|$out" "0|{\"pid\":$pid,\"comm\":\"fixture_segment\",\"done\":false,\"purged_bytes\":0}" 'purge -j'
stop $pid

# ---- The dead ----

run ps
is "$code|$out" "0|    PID NAME            THREADS       LIVE GENERATION STATE
$(printf '%7d' $pid) fixture               0   61.6 MiB          0 dead" 'ps: a dead one, by the name it had'
run stats -p $pid
like "$code $out" "^0 pid $pid \(fixture\), dead, libhakmem 9.8.7, 0 threads, generation 0, exact" \
    'stats works on a dead one'
run -j stats -p $pid
is "$code|$(json 'd["state"], d["uptime_ns"], d["classes"][1]["allocs"]')" "0|('dead', None, 360)" 'stats -j too'
run get -p $pid $mask
is "$code|$out" "0|$mask = 0xFF" 'get works on a dead one'
run list -p $pid
is "$code" 0 'list works on a dead one'
ended="the process has ended; 'hakctl stats -p $pid' shows its last figures"
fails 3 $pid "$ended" -p $pid set $mask=1
fails 3 $pid "$ended" -p $pid purge
fails 3 - "$none" stats
dead=$(cd /dev/shm && echo hakmem.$pid.*)
start
run gc
is "$code|$out|$(ls /dev/shm | wc -l)" "0|removed $dead (fixture)|1" 'gc removes the dead alone'
run gc
is "$code|$out" '0|' 'gc: nothing left'
run -j gc
is "$code|$out" '0|{"removed":[]}' 'gc -j'
stop $pid
run -j gc
is "$code|$(json 'd["removed"][0]["pid"], d["removed"][0]["comm"], len(d["removed"])')" "0|($pid, 'fixture', 1)" 'gc -j: one'

# ---- Threads that move ----

start threads=4 busy=3 slow=100
run set $mask=0xE
is "$code|$out" "0|$mask: 0xFF -> 0xE (generation 1, applied by 3/3 threads, 1 idle)" 'set: threads that get no CPU for long are not idle here'
stop $pid
"$hakctl" gc >/dev/null
start threads=4 busy=3
run set $mask=0xE
is "$code|$out" "0|$mask: 0xFF -> 0xE (generation 1, applied by 3/3 threads, 1 idle)" 'set: applied'
run -j set $mask=0 tiny.inline_sll=1
is "$code|$out" "0|{\"pid\":$pid,\"comm\":\"fixture_segment\",\"generation\":2,\"applied\":3,\"threads\":3,\"idle\":1,\"changes\":[{\"name\":\"$mask\",\"old\":14,\"new\":0},{\"name\":\"tiny.inline_sll\",\"old\":0,\"new\":1}]}" 'set -j'
run purge
is "$code|$out" '0|purged 3.0 MiB' 'purge: done'
for bad in \
    "$mask=0x1FF|$mask: 0x1FF out of range [0x0, 0xFF]" \
    "$mask=256|$mask: 256 out of range [0x0, 0xFF]" \
    "$mask=|$mask: an empty value is not a number" \
    "$mask=-1|$mask: -1 is not a number" \
    "$mask= 1|$mask:  1 is not a number" \
    "$mask=0x|$mask: 0x is not a number" \
    "$mask=99999999999999999999|$mask: 99999999999999999999 is not a number" \
    'tiny.inline_sll=yes|tiny.inline_sll: yes is neither 0 nor 1' \
    'tiny.inline_sll=2|tiny.inline_sll: 2 out of range [0, 1]' \
    'tiny.sll.drain_interval=0|tiny.sll.drain_interval: 0 out of range [1, 65536]' \
    'tiny.front_dierct=1|tiny.front_dierct: no such knob, the nearest is tiny.front_direct' \
    '=1|: no such knob' \
    'tiny.heap_v2.enable=|tiny.heap_v2.enable: an empty value is neither 0 nor 1' \
    'HAKMEM_OS_THP=1|HAKMEM_OS_THP: no such knob, the nearest is os.thp' \
    'HAKMEM_TINY_HEAP_V2=1|HAKMEM_TINY_HEAP_V2: no such knob, the nearest is tiny.heap_v2.enable' \
    'tiny=1|tiny: no such knob' \
    'shm.mode=0620|shm.mode: 0620 has bits that 0640 has not' \
    'pool.per_class=1|pool.per_class: startup knob; start the process with HAKMEM_POOL_PER_CLASS=...'; do
    fails 5 $pid "${bad#*|}; nothing changed" set "${bad%%|*}"
done
fails 5 $pid "$mask: 0x1FF out of range [0x0, 0xFF]; nothing changed" set tiny.inline_sll=0 $mask=0x1FF
fails 2 $pid "$mask: given twice; nothing changed" set $mask=1 $mask=2
run get -n $mask tiny.inline_sll
is "$out" $'0x0\n1' 'nothing has changed'
run ps
like "$out" ' 2 running$' 'and no generation was made'
run stats --check
is "$code" 0 'stats --check: the laws hold'
like "$out" $'\nLAW      VERDICT      CHECKED EQUATION\nheap_v2  holds            162 ' '162 rows of three threads'
like "$out" $'\nremote   not checked        0 .* \(1 heap not walked: idle\)' 'an idle thread is named'
like "$out" $'\npool     holds              1 superslabs_live' 'the pool'
stop $pid
"$hakctl" gc >/dev/null

start threads=4 busy=3 deaf=1
run set $mask=3
is "$code|$out|$err" "6|$mask: 0xFF -> 0x3 (generation 1, applied by 2/3 threads, 1 idle)|hakctl: pid $pid: generation 1 is applied by 2/3 threads after 2000 ms; thread $((pid + 2)) is not one of them" \
    'set: a busy thread does not apply it'
run -j set $mask=4
is "$code|$(json 'd["error"]["code"], d["error"]["message"], d["error"]["pid"], d["applied"], d["threads"], d["idle"]')|$err" \
    "6|(6, 'generation 2 is applied by 2/3 threads after 2000 ms; thread $((pid + 2)) is not one of them', $pid, 2, 3, 1)|" 'set -j: likewise'
stop $pid

# A thread that runs, but frees so little that it comes to no tick.
start threads=2 busy=1 pace=1 turns=20 deaf=1
run set --wait 1 $mask=3
is "$code|$out|$err" "6|$mask: 0xFF -> 0x3 (generation 1, applied by 0/1 threads, 1 idle)|hakctl: pid $pid: generation 1 is applied by 0/1 threads after 1000 ms; thread $pid runs, but has made only 20 frees meanwhile; it applies it within its next 2028" \
    'set: a thread that frees little; it has a tick in 2048 frees'
run -j set --wait 0.5 $mask=4
is "$code|$(json 'd["error"]["code"], d["applied"], d["threads"], d["frees_left"]')" '6|(6, 0, 1, 2028)' 'set -j: likewise'
stop $pid
start threads=2 busy=1 pace=1 turns=1 deaf=1
run set --wait 0.5 $mask=3
like "$code|$err" '^6\|.* has made only 1 free meanwhile; it applies it within its next 2047$' 'set: a thread that has freed one'
stop $pid

start busy=1 refuse=1
fails 5 $pid "$mask: the library refused 0xE: out of range; nothing changed" set $mask=0xE
run get -n $mask
is "$out" 0xFF 'refused: nothing changed'
stop $pid
# refused REASON MESSAGE
refused() {
    start busy=1 refuse=$1
    run set $mask=0xE
    is "$code|$out|$err" "5||hakctl: pid $pid: $2; nothing changed" "set: $2"
    stop $pid
}
refused 2 "$mask: the library refused 0xE: can be set at start only"
refused 3 'the library refused generation 1: torn while it was read'
refused 99 'the library refused generation 1 for reason 99'

start busy=1 silent=1
fails 6 $pid 'the purge is pending: 1 thread moved, none has come to it after 2000 ms; each does at least once in 2048 of its frees' purge
stop $pid

start threads=2 busy=2
run -j stats --check
is "$code|$(json '[(l["law"], l["verdict"], l["checked"]) for l in d["laws"]]')" \
    "0|[('heap_v2', 'holds', 108), ('cached', 'holds', 108), ('used', 'holds', 108), ('remote', 'holds', 54), ('pool', 'holds', 1)]" \
    'stats -j --check: all five, when every thread answers'
stop $pid

# broken WHAT LAW DETAIL
broken() {
    start threads=2 busy=2 corrupt=$1
    local equation
    run -j stats --check
    equation=$(json '[l["equation"] for l in d["laws"] if l["law"] == "'$2'"][0]')
    is "$code|$(json '[l["law"] for l in d["laws"] if l["verdict"] == "broken"], d["error"]["message"]')" \
        "1|(['$2'], 'law $2 is broken: $equation: $3')" "law $2: broken, as JSON"
    run stats --check
    is "$code|$err" "1|hakctl: pid $pid: law $2 is broken: $equation: $3" "law $2: broken"
    like "$out" $'\n'"$2 +broken .*\($3\)" "law $2: in the table"
    stop $pid
    run -j stats --check -p $pid
    case $2 in
        remote) is "$code" 0 'law remote: needs the living' ;;
        *) is "$code|$(json '[l["law"] for l in d["laws"] if l["verdict"] == "broken"]')" "1|['$2']" "law $2: in the dead, too" ;;
    esac
    "$hakctl" gc >/dev/null
}
broken used_law used 'slot 1, bin of 32 bytes: 89, but 88'
broken cached_law cached 'slot 1, bin of 32 bytes: 29, but 30'
broken queue_law remote 'bin of 64 bytes: 14, but 9'
broken pool_law pool '10, but 9'

start flags=1 busy=3 corrupt=used_law
run stats --check
is "$code|$(grep -c ' not checked .*(counters are compiled out)$' <<<"$out")" '0|5' 'stats --check: a library without counters'
like "$out" ' generation 0, counters compiled out' 'stats: says so'
fails 1 $pid 'its counters are compiled out: there is nothing to measure; nothing changed' trial $mask=1,2
stop $pid

start env_errors=2 uncounted=1
run list
is "$(tail -1 <<<"$out")" '2 values of the environment or the configuration file refused at start; HAKMEM_VERBOSE=1 says which' \
    'list: ENV errors'
run stats
like "$out" ' 3 threads, generation 0, not exact' 'stats: threads_uncounted makes it inexact'
run -j stats
is "$(json 'd["exact"]')" False 'stats -j: likewise'

# ---- Several ----

one=$pid
start threads=1 busy=1 env_errors=1
two=$pid
run list -p $two
is "$(tail -1 <<<"$out")" '1 value of the environment or the configuration file refused at start; HAKMEM_VERBOSE=1 says which' \
    'list: one of them'
run stats -p $two
like "$out" ' 1 thread, generation 0, exact' 'stats: one thread'
(( one < two )) || bail 'pids went round'
fails 2 - "2 processes under libhakmem; choose with -p PID: $one (fixture_segment), $two (fixture_segment)" stats
fails 2 - "2 processes under libhakmem; choose with -p PID: $one (fixture_segment), $two (fixture_segment)" \
    set -c 'fix*' $mask=1
run -a get $mask
is "$code|$out" "0|pid $one (fixture_segment):
$mask = 0xFF
pid $two (fixture_segment):
$mask = 0xFF" 'get -a: both'
run -a -c 'fixt*' -j get $mask
is "$code|$out" "0|{\"processes\":[{\"pid\":$one,\"comm\":\"fixture_segment\",\"values\":{\"$mask\":255}},{\"pid\":$two,\"comm\":\"fixture_segment\",\"values\":{\"$mask\":255}}]}" \
    'get -a -c -j'
for verb in ps stats; do
    fails 3 - "no process named 'other*' under libhakmem; start one with 'hakctl run -- COMMAND'" -c 'other*' -a $verb
    fails 3 $one "not a process named 'other*' under libhakmem" -c 'other*' -p $one $verb
done
run ps -p $two
is "$code|$(wc -l <<<"$out")" '0|2' 'ps -p: one'
run -a set $mask=2
is "$code|$out" "0|pid $one (fixture_segment):
$mask: 0xFF -> 0x2 (generation 1, applied by 0/0 threads, 3 idle)
pid $two (fixture_segment):
$mask: 0xFF -> 0x2 (generation 1, applied by 1/1 threads, 0 idle)" 'set -a'
stop $one
start busy=1 refuse=1 corrupt=pool_law
run -a set $mask=3
is "$code|$err" "5|hakctl: pid $pid: $mask: the library refused 0x3: out of range; nothing changed" 'set -a: one refuses'
like "$out" "pid $two .fixture_segment.:
$mask: 0x2 -> 0x3 .generation 2, applied by 1/1 threads, 0 idle." 'set -a: the other has it'
run -j -a stats --check
is "$code|$(json '[("error" in p, p["pid"]) for p in d["processes"]]')" "1|[(False, $two), (True, $pid)]" \
    'stats -j -a --check: the first that is not 0'
stop $two $pid

# ---- What each tool does at its start ----

"$hakctl" gc >/dev/null
for i in {1..19}; do
    start
    stop $pid
done
is "$(ls /dev/shm | wc -l)" 19 '19 dead segments'
oldest=$(ls -tr /dev/shm | head -3)
run ps
is "$(ls /dev/shm | wc -l)" 16 'a tool that starts keeps 16 of them'
is "$(cd /dev/shm && ls $oldest 2>/dev/null)" '' 'the newest'
"$hakctl" gc >/dev/null

# ---- Output ----

start
"$hakctl" list >/dev/full 2>"$tmp/err"
is "$?|$(cat "$tmp/err")" '1|hakctl: can'"'"'t write: No space left on device' 'a full disk is an error'
(trap '' PIPE; "$hakctl" list 2>"$tmp/err"; echo $? >"$tmp/code") | :
is "$(cat "$tmp/err")" '' 'nobody reads: quiet, though SIGPIPE was ignored'
for i in {1..20}; do "$hakctl" stats; done 2>"$tmp/err" | head -1 >/dev/null
is "$(cat "$tmp/err")" '' 'nobody reads on: quiet'
stop $pid
done_testing
