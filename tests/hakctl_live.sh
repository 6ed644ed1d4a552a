# hakctl_live.sh: hakctl against the library itself: run, and what a set, a purge and the laws say of
# a process whose every call is known.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need jq jq

mask=tiny.heap_v2.class_mask
rows=$(($(grep -cE '^BIN(_ALIGNED)?\(' "$HAK_SRC/abi/sizes.def") + 2))   # the large and the huge tier have one, too
run() {
    out=$("$hakctl" "$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}

# ---- run ----

real=$(realpath "$lib")
unset LD_PRELOAD
run run -- sh -c 'echo "$LD_PRELOAD"'
is "$code|$out|$err" "0|$real|" 'run: the library of the build tree'
LD_PRELOAD=libdl.so.2 run run -- sh -c 'echo "$LD_PRELOAD"'
is "$code|$out" "0|$real:libdl.so.2" 'run: in front of what is preloaded'
run run $mask=0xE shm.mode=0640 -- sh -c 'echo $HAKMEM_TINY_HEAP_V2_CLASS_MASK $HAKMEM_SHM_MODE; exit 42'
is "$code|$out" '42|0xE 0640' 'run: values in the ENV, startup knobs too; the exit code of the command'
run run -- "$hakctl" get -n pool.per_class $mask
is "$code|$out|$err" $'0|0\n0xFF|' 'run: and it runs under the library'
run run $mask=0x2 pool.per_class=1 -- "$hakctl" get -n pool.per_class $mask
is "$code|$out" $'0|1\n0x2' 'run: with the values'
run run $mask=0x2 -- "$hakctl" list
like "$out" $'\ntiny.heap_v2.class_mask +0x2 +0xFF +0x0..0xFF +live +env ' 'list: where the value came from'
run run -- /no/such/command
is "$code|$out|$err" '127||hakctl: /no/such/command: No such file or directory' 'run: not found'
run -j run -- /no/such/command
is "$code|$out|$err" '127|{"error":{"code":127,"message":"/no/such/command: No such file or directory","pid":null}}|' \
    'run -j: likewise'
run run -- /etc/passwd
is "$code|$err" '126|hakctl: /etc/passwd: Permission denied' 'run: can not be run'
for bad in "$mask=0x100|$mask: 0x100 out of range [0x0, 0xFF]" "$mask=x|$mask: x is not a number" \
    'tiny.font_direct=1|tiny.font_direct: no such knob, the nearest is tiny.front_direct'; do
    run run export=1 "${bad%%|*}" -- touch "$tmp/started"
    is "$code|$out|$err" "5||hakctl: ${bad#*|}; nothing was started" "run ${bad%%|*}"
done
for bad in 'HAKMEM_OS_TPH|, the nearest is HAKMEM_OS_THP' 'HAKMEM_CNF|, the nearest is HAKMEM_CONF' \
    'HAKMEM_TINY_P0_DIRECT_FC|, the nearest is HAKMEM_TINY_P0_DIRECT_FC_ALL' 'HAKMEM_ZZZZZZZZZZZZZZZZZZZZZ|'; do
    export "${bad%%|*}=1"
    run run -- echo started
    is "$code|$out|$err" "0|started|hakctl: ${bad%%|*} in the environment: no such knob${bad#*|}" "run: ${bad%%|*} is noticed"
    unset "${bad%%|*}"
done
HAKMEM_OS_THP=yes HAKMEM_TINY_HEAP_V2=2 run run -- echo started
is "$code|$out|$(sort <<<"$err")" '0|started|hakctl: HAKMEM_OS_THP in the environment: os.thp: yes is not a number; it is ignored
hakctl: HAKMEM_TINY_HEAP_V2 in the environment: tiny.heap_v2.enable: 2 out of range [0, 1]; it is ignored' 'run: bad values are noticed'
HAKMEM_CONF=/dev/null HAKMEM_OS_THP=1 HAKMEM_TINY_HEAP_V2=1 HAKMEMX=1 run run -- echo started
is "$code|$out|$err" '0|started|' 'run: and nothing said of those that there are'
run run HAKMEM_OS_THP=1 -- true
is "$code|$err" '5|hakctl: HAKMEM_OS_THP: no such knob, the nearest is os.thp; nothing was started' "run: a variable's name"
run run front -- touch "$tmp/started"
is "$code|$err" '2|hakctl: front: not NAME=VALUE' 'run: no value'
ok 'nothing was started' test ! -e "$tmp/started"
mkdir -p "$tmp/a b/bin" "$tmp/a b/.libs"
cp "$hakctl" "$tmp/a b/bin/hakctl"
cp "$real" "$tmp/a b/.libs/libhakmem.so"
"$tmp/a b/bin/hakctl" run -- true 2>"$tmp/err"
is "$?|$(cat "$tmp/err")" "1|hakctl: $tmp/a b/.libs/libhakmem.so can't be preloaded: LD_PRELOAD takes no path with blanks or colons; nothing was started" \
    'run: a path that LD_PRELOAD would take apart'
mkdir -p "$tmp/alone/bin"
cp "$hakctl" "$tmp/alone/bin/hakctl"
installed=$(sed -n 's/^prefix = //p' "$HAK_BUILD/Makefile")/lib/libhakmem.so
if [ ! -e "$installed" ]; then
    "$tmp/alone/bin/hakctl" run -- touch "$tmp/started" 2>"$tmp/err"
    is "$?|$(cat "$tmp/err")" "1|hakctl: can't find libhakmem.so: neither near this program nor in ${installed%/*}; nothing was started" \
        'run: no library is to be found'
    ok 'and nothing is started' test ! -e "$tmp/started"
fi
run run export=0 -- "$hakctl" get $mask
is "$code|$err" "3|hakctl: no process under libhakmem; start one with 'hakctl run -- COMMAND'" 'export=0 hides it'

# ---- A live process ----

"$hakctl" gc >/dev/null       # a shell ends by _exit and leaves its segment
puppet_start
order pairs 0 8 1
run ps
is "$(awk 'NR > 1 { print $1, $2, $3, $6, $7 }' <<<"$out")" "$puppet puppet 1 0 running" 'ps'
(ulimit -v 150000 && exec "$hakctl" get $mask) >"$tmp/out" 2>&1
is "$?|$(cat "$tmp/out")" "1|hakctl: pid $puppet: can't map its segment: Cannot allocate memory" 'no room for the segment'
order threads 3
for t in 1 2 3; do order pairs $t 16 10; done
run set $mask=0xC
is "$code|$out|$err" "0|$mask: 0xFF -> 0xC (generation 1, applied by 0/0 threads, 4 idle)|" 'set: all threads idle'
run get -n $mask
is "$out" 0xFF 'it is not in force before a thread moves'
order pairs 1 16 5000
run get -n $mask
is "$out" 0xC 'and is once one has'
# A thread that frees a block now and then, less than a tick's worth, while the set waits for it.
"$hakctl" set -q $mask=0x8
until [ "$("$hakctl" get -n $mask)" = 0x8 ]; do order pairs 1 16 64; done   # its countdown begins anew
"$hakctl" set --wait 2 $mask=0xC >"$tmp/out" 2>"$tmp/err" &
setter=$!
while kill -0 $setter 2>/dev/null; do
    order pairs 1 16 1
    sleep 0.02
done
wait $setter
like "$?|$(cat "$tmp/out" "$tmp/err")" "^6\|$mask: 0x8 -> 0xC \(generation 3, applied by 0/1 threads, 3 idle\)
hakctl: pid $puppet: generation 3 is applied by 0/1 threads after 2000 ms; thread [0-9]+ runs, but has made only [0-9]+ frees meanwhile; it applies it within its next [0-9]+\$" \
    'set: a thread that frees little'
left=$(sed 's/.* //' "$tmp/err")
order pairs 1 16 "$left"
run get -n $mask
is "$out" 0xC "it has applied it after $left more"
# A thread that works while the set is made.
echo 'pairs 2 64 300000000' >&"$to_puppet"
run set $mask=0xFF tiny.bump_chunk=32
is "$code|$out|$err" "0|$mask: 0xC -> 0xFF (generation 4, applied by 1/1 threads, 3 idle)
tiny.bump_chunk: 256 -> 32 (generation 4, applied by 1/1 threads, 3 idle)|" 'set: a busy thread applies it'
run stats --check
is "$code" 0 'the laws hold while it works'
like "$out" $'\nused +holds +'"$rows " "they were checked on its $rows rows"
like "$out" $'\nremote +not checked +0 .*\(3 heaps not walked: idle\)' 'the others are idle'
read -r -t 120 answer <&"$from_puppet"
is "$answer" ok 'it is done' || diag "$answer"

for t in 0 1 2 3; do order alloc $t 48 1000; done
order freeof 1 2 500
run -j stats --check
is "$code" 0 'stats --check of an idle process'
for t in 0 1 2 3; do order pairs $t 4096 5000; done
(for t in 0 1 2 3; do echo "pairs $t 32 60000000"; done) >&"$to_puppet"
run stats --check
is "$code" 0 'the laws hold after frees of others'
for t in 0 1 2 3; do read -r -t 120 answer <&"$from_puppet"; done

order alloc 0 200 20000
order free 0 20000
echo 'pairs 0 128 100000000' >&"$to_puppet"
run purge
like "$code|$out" '^0\|purged [0-9.]+ [KM]iB$' 'purge'
read -r -t 120 answer <&"$from_puppet"
run -j stats
live=$out
like "$live" '"os_purge":[1-9]' 'is counted'

for t in 1 2 3; do order end $t; done
order freeof 0 2 100
order freeof 0 3 1000
order pairs 0 128 20000     # ticks enough to hand them over and drain them: none moves during the check
echo 'pairs 0 128 150000000' >&"$to_puppet"
run -j stats --check
like "$code|$out" '^0\|.*"law":"remote",[^{]*"verdict":"holds","checked":'"$rows," \
    'the law of remote frees, with the heaps of ended threads'
read -r -t 120 answer <&"$from_puppet"

# ---- Its death ----

order pairs 0 8 1
run -j stats -p $puppet
last=$(sed 's/.*"classes"/"classes"/' <<<"$out")
puppet_kill KILL
run -j stats -p $puppet
is "$(sed 's/.*"classes"/"classes"/' <<<"$out")" "$last" 'kill -9: every figure is there, to the last call'
like "$out" '"comm":"puppet",.*"state":"dead".*"threads":0' 'it is said to be dead'
run gc
like "$code|$out" "^0\|removed hakmem\.$puppet\.[0-9]+ \(puppet\)$" 'gc'
puppet_start
puppet_end
run stats -p $puppet
is "$code|$err" "3|hakctl: pid $puppet: no such process" 'one that exits leaves nothing'

# ---- A revert without hakctl ----

# What is set for a while is undone by the process, though hakctl is killed as soon as it is in force.
puppet_start
echo 'pairs 0 128 1000000000000' >&"$to_puppet"
"$hakctl" set --wait 60 --revert-after 2 $mask=0x4 &
setter=$!
tap_pids+=($setter)
set_to() { [ "$("$hakctl" get -n $mask)" = "$1" ]; }
wait_until set_to 0x4
{ kill -KILL $setter; wait $setter; } 2>/dev/null
changed() { "$hakctl" -j describe $mask | jq ".knobs[0] | select(.from == \"$1\") | .changed.time_ns"; }
set_at=$(changed hakctl)
ok 'hakctl is killed; the value comes back' wait_until set_to 0xFF
after=$((($(changed revert) - set_at) / 1000))
ok "not before its time: after $after us" test $after -ge 2000000
puppet_kill KILL

# ---- A change that is pending ----

puppet_start
order pairs 0 8 1
run set os.decay_ms=333
is "$code|$out" '0|os.decay_ms: 500 -> 333 (generation 1, applied by 0/0 threads, 1 idle)' 'a set of an idle process is pending'
run describe os.decay_ms $mask
is "$(grep -A1 '^  value' <<<"$out")" '  value    500, from default
  pending  333 (generation 1)
--
  value    0xFF, from default
  default  0xFF' 'describe says so, of this knob alone'
run -j describe os.decay_ms $mask
is "$(jq -c '[.knobs[].pending]' <<<"$out")" '[{"value":333,"generation":1},null]' 'describe -j too'
run diff
is "$out" 'os.decay_ms: pending: 333 (generation 1)' 'and diff'
run save -
is "$(grep 'os.decay_ms\|^#' <<<"$out" | sed 's/.*libhakmem [^,]*, //')" $'generation 1, which is pending\nos.decay_ms = 333' \
    'save writes what has been accepted'
run set --dry-run os.decay_ms=444
is "$out" 'os.decay_ms: 333 -> 444 (dry run)' 'set --dry-run: the old value is that one'
run set os.decay_ms=444
is "$out" 'os.decay_ms: 333 -> 444 (generation 2, applied by 0/0 threads, 1 idle)' 'and with set'
run reset --all
is "$out" 'os.decay_ms: 444 -> 500 (generation 3, applied by 0/0 threads, 1 idle)' 'reset --all undoes it'
run reset --all
is "$out" '' 'once'
order pairs 0 16 5000
run get -n os.decay_ms
is "$out" 500 'so it never comes into force'
run -j describe os.decay_ms
is "$(jq -c '[.knobs[].pending]' <<<"$out")" '[null]' 'nothing is pending any more'
run set os.decay_ms=333
run reset os.decay_ms
is "$out" 'os.decay_ms: 333 -> 500 (generation 5, applied by 0/0 threads, 1 idle)' 'reset NAME'
puppet_kill KILL
run describe -p $puppet os.decay_ms
unlike "$out" 'pending' 'nothing is pending in a dead process'
rm -f /dev/shm/hakmem.*
done_testing
