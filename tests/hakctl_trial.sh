# hakctl_trial.sh: experiments on a process that does nothing but malloc(16) and free.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need jq jq

mask=tiny.heap_v2.class_mask
value() { "$hakctl" get -n $mask; }
run() {
    out=$("$hakctl" "$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}
fails() {   # CODE MESSAGE ARGUMENT...
    local want=$1 text=$2
    shift 2
    run trial "$@"
    is "$code|$out|$err" "$want||hakctl: pid $puppet: $text; nothing changed" "trial $*: $text"
}
puppet_start
fails 2 "$mask: one value is no experiment; give NAME=A,B" $mask=1
fails 2 "$mask: 0x1 given twice" $mask=1,0x1
fails 2 "$mask: more than 8 values" $mask=1,2,3,4,5,6,7,8,9
fails 2 '--rounds: more than 10000' $mask=1,2 --rounds 10001
fails 5 "$mask: 0x100 out of range [0x0, 0xFF]" $mask=1,0x100
fails 5 "$mask: an empty value is not a number" $mask=1,
fails 5 'tiny.heap_v2.clas_mask: no such knob, the nearest is tiny.heap_v2.class_mask' tiny.heap_v2.clas_mask=1,2
fails 5 'pool.per_class: startup knob; start the process with HAKMEM_POOL_PER_CLASS=...' pool.per_class=0,1
run trial $mask=1,2 --period 0.01
is "$code|$err" '2|hakctl: --period: 0.01 is not a number of seconds from 0.05 to 86400' 'a period too short'

# ---- A process that is idle ----

start_trial() {
    rm -f "$tmp/err"                # what an earlier one said is not waited for
    "$hakctl" trial "$@" >"$tmp/out" 2>"$tmp/err" &
    trial=$!
    tap_pids+=($trial)
}
start_trial $mask=0x2,0x4 --wait 0.1
sleep 0.3
kill -INT $trial
wait $trial
code=$? idle="hakctl: pid $puppet: all its threads are idle; waiting for one to be at work"
is "$code|$(cat "$tmp/err")" "1|$idle
hakctl: pid $puppet: stopped by a signal after 0 rounds" 'it waits for an idle process, and says so, until ^C'
order pairs 0 16 1
is "$(value)" 0xFF 'and leaves nothing behind'

# A change that was pending before is what comes back.
order pairs 0 16 5000
"$hakctl" set -q $mask=0x10
start_trial $mask=0x2,0x4 --period 0.05 --rounds 3
wait_until grep -sq idle "$tmp/err"
is "$(cat "$tmp/err")" "$idle" 'a change is pending: it is waited for'
echo 'pairs 0 16 600000000' >&"$to_puppet"
wait $trial
like "$?|$(cat "$tmp/out")" "^0\|$mask: 3 rounds of .*; 0x10 is back" 'the trial is held'
read -r -t 120 answer <&"$from_puppet"
is "$(value)" 0x10 'and the value that was pending is in force'
"$hakctl" set -q $mask=0x20
start_trial $mask=0x2,0x4
wait_until grep -sq idle "$tmp/err"
kill -INT $trial
wait $trial
is "$?" 1 'a signal before it has begun'
order pairs 0 16 5000
is "$(value)" 0x20 'leaves what was pending alone'
"$hakctl" set -q $mask=0xFF
order pairs 0 16 5000
is "$(value)" 0xFF 'the default again'

# ---- One arm that is worse ----

echo 'pairs 0 16 1000000000000' >&"$to_puppet"
for rounds in 12 ${HAK_LONG:+24 48}; do  # more, where the machine has other things to do
    run -j trial tiny.heap_v2.enable=1,0 --period 0.2 --rounds $rounds
    found=$(jq -r '.arms[1].cpu_ms_per_million_change_percent.finding' <<<"$out")
    [ "$found" = 'no difference' ] || break
done
# A verdict on a machine that others use is a measurement: only the long check insists on it.
like "$code|$found" "^0\\|(more$([ "${HAK_LONG:-}" ] || echo "|no difference"))\$" \
    'TinyHeapV2 off: more CPU time per allocation, or too much noise to say' || diag "$out"
is "$(jq -c '[.name, .value, .restored, .rounds, .period_ms, (.arms | map(.value))]' <<<"$out")" \
    "[\"tiny.heap_v2.enable\",1,true,$rounds,200,[1,0]]" 'what was done'
ok 'hits: all of TinyHeapV2 with it, none without' jq -e \
    '.arms[0].heap_v2_percent.low > 99.9 and .arms[1].heap_v2_percent.high < 0.1 and .arms[1].fast_cache_percent.mean > 99' <<<"$out"
ok 'intervals around their means' jq -e '.arms[] | [.cpu_ms_per_million, .allocs_per_second] |
    all(.low < .mean and .mean < .high and .mean > 0)' <<<"$out"
is "$("$hakctl" get -n tiny.heap_v2.enable)" 1 'the old value is back'
run trial $mask=2,4,0 --period 0.05 --rounds 2
like "$code|$out" "^0\|$mask: 2 rounds of 0.05 s a value; 99 % intervals; 0xFF is back
.*
0x2 .*
0x4 .*
0x0 .*
0x4 against 0x2, CPU time per allocation: too few rounds
0x4 against 0x2, allocations a second: too few rounds
0x0 against 0x2, CPU" 'as text; two rounds allow no verdict'

# A workload with refills: their duration is measured, by both arms.
need /usr/bin/python3 python3
in_background preloaded /usr/bin/python3 -S -c 'while True: [bytes(1000) for i in range(20000)]'
python=$!
wait_until "$hakctl" get -p $python $mask
run -j -p $python trial tiny.sfc_cascade=0,1 --period 0.1 --rounds 3
is "$code|$(jq -c '[.arms[].refill_ns | .low < .mean and .mean < .high and .mean > 10]' <<<"$out")" '0|[true,true]' \
    'how long refills took' || diag "$out"
run -p $python trial tiny.sfc_cascade=0,1 --period 0.1 --rounds 2
like "$out" $'REFILL_NS +\\+-\n0( +[0-9.]+){12}\n1( +[0-9.]+){12}\n' 'as text, all six columns of both'
kill -KILL $python
gone() { ! "$hakctl" get -p $python $mask; }
wait_until gone
rm -f /dev/shm/hakmem.$python.*

# ---- Its end ----

in_trial() { [[ $(value) = 0x[24] ]]; }
start_trial $mask=2,4 --period 0.1 --rounds 10000
ok 'a trial is on' wait_until in_trial
kill -TERM $trial
wait $trial
like "$?|$(cat "$tmp/err")" "^1\|hakctl: pid $puppet: stopped by a signal after [0-9]+ rounds\$" 'a signal ends it'
is "$(value)" 0xFF 'and the old value is back'
start_trial $mask=2,4 --period 0.1 --rounds 10000
ok 'another one' wait_until in_trial
kill -KILL $trial
{ wait $trial; } 2>/dev/null
like "$(value)" '^0x[24]$' 'hakctl is killed with an arm in force'
reverted() { "$hakctl" describe $mask | grep -q '0xFF, from revert'; }
ok 'and the process itself puts the old value back' wait_until reverted
start_trial $mask=2,4 --period 0.1 --rounds 10000
ok 'a third one' wait_until in_trial
"$hakctl" set -q $mask=0x8
wait $trial
is "$?|$(cat "$tmp/err")" "1|hakctl: pid $puppet: somebody else has changed its knobs; the trial is over" \
    'a change by somebody else ends it'
is "$(value)" 0x8 'and is left alone'
start_trial $mask=2,4 --period 0.1 --rounds 10000
ok 'a last one' wait_until in_trial
puppet_kill KILL
wait $trial
like "$?|$(cat "$tmp/err")" "^3\|hakctl: pid $puppet: the process has ended" 'the process ends'
done_testing
