# life.sh: what becomes of a segment when its process exits, is killed, or becomes another program.
. "${HAK_SRC:-.}/tests/alone.sh"
. "$HAK_SRC/tests/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need jq jq

names() { compgen -G "/dev/shm/hakmem.$1.*"; }
class() { jq -c "[.classes[] | select(.class == \"$2\") | .allocs, .frees, .live]" "$1"; }

# ---- kill -9: a post-mortem ------------------------------------------------------------------------

puppet_start
order threads 2
order alloc 1 1 1
order alloc 2 1 1
stats "$tmp/before"
order alloc 1 500 1234
order freeof 2 1 234
order pairs 2 20000 10
stats "$tmp/alive"
"$hakctl" set -p "$puppet" tiny.heap_v2.class_mask=0xE >/dev/null
puppet_kill KILL

ok 'kill -9 leaves the segment behind' names "$puppet"
ok 'hakctl stats reads it' "$hakctl" -j stats -p "$puppet"
stats "$tmp/dead"
is "$(jq -r .state "$tmp/dead")" dead 'it says that the process is dead'
is "$(jq -c .classes "$tmp/dead")" "$(jq -c .classes "$tmp/alive")" \
    'every counter is what it was, to the last call'
is "$(class "$tmp/dead" C6)" "[$(($(class "$tmp/before" C6 | jq .[0]) + 1234)),$(($(class "$tmp/before" C6 | jq .[1]) + 234)),$(($(class "$tmp/before" C6 | jq .[2]) + 1000))]" \
    'a thousand blocks of 500 bytes were live'
like "$("$hakctl" ps)" "(^|"$'\n'")\s*$puppet\s.*dead" 'hakctl ps lists it as dead'
"$hakctl" set -p "$puppet" tiny.heap_v2.class_mask=0xF >/dev/null 2>&1
is $? 3 'a set on it is exit code 3'
ok 'hakctl gc' "$hakctl" gc
ok 'removes its name' test -z "$(names "$puppet")"
"$hakctl" stats -p "$puppet" >/dev/null 2>&1
is $? 3 'then there is nothing to read: exit code 3'

in_background bash -c 'LD_PRELOAD=$0 sleep 1000 & echo $! >"$1"; exec sleep 1000' "$lib" "$tmp/child"
wait_until test -s "$tmp/child"
zombie=$(cat "$tmp/child")
wait_until "$hakctl" get -p "$zombie" verbose
name=$(names "$zombie")
kill -KILL "$zombie"
wait_until grep -q '^State:.*zombie' "/proc/$zombie/status"
is "$("$hakctl" gc)" "removed ${name##*/} (sleep)" 'nor of one whose parent does not wait for it'

# ---- other ends -------------------------------------------------------------------------------------

puppet_start
puppet_kill TERM
ok 'SIGTERM leaves it behind as well' names "$puppet"
rm -f $(names "$puppet")
puppet_start
puppet_end
ok 'exit removes the name' test -z "$(names "$puppet")"
preloaded "$BASH" -c ': "$(true)"; echo $$; (exit 3); exec true' >"$tmp/pid"
ok 'a shell whose children fork, exec and exit leaves nothing' test -z "$(names "$(cat "$tmp/pid")")"

# ---- exec under a live hakctl -----------------------------------------------------------------------

puppet_start
order alloc 0 500 100000
{
    for ((i = 0; i < 150; i++)); do
        "$hakctl" -j stats -p "$puppet" >"$tmp/try"
        status=$?
        echo "$status $(jq -r 'if .error.code == 3 then 3 else .error.message // .state end' "$tmp/try" 2>&1)"
    done
} >"$tmp/seen" &
watcher=$!
for ((i = 0; i < 300; i++)); do
    order exec
    [ "$answer" = ready ] || bail "after exec: $answer"
done
wait "$watcher"
is "$(sort -u "$tmp/seen" | grep -vE '^(0 running|0 starting|0 dead|3 3)$')" '' \
    '300 times exec while hakctl looks: it sees the new program, the old one dead, or none'
ok 'and it does see it' grep -q '^0 running' "$tmp/seen"
stats "$tmp/json"
ok 'counters are the new program'"'"'s' test "$(class "$tmp/json" C6 | jq .[0])" -lt 1000
is "$(names "$puppet" | wc -l)" 1 'there is one segment of this process'
"$hakctl" set -p "$puppet" tiny.heap_v2.class_mask=0x6 >/dev/null
order pairs 0 64 2048
is "$("$hakctl" get -n -p "$puppet" tiny.heap_v2.class_mask)" 0x6 'and it can be set'
order exec
is "$("$hakctl" get -n -p "$puppet" tiny.heap_v2.class_mask)" 0xFF 'a set does not outlive exec'
puppet_end

# ---- many dead ones ---------------------------------------------------------------------------------

for ((i = 0; i < 20; i++)); do
    puppet_start
    puppet_kill KILL
done
"$hakctl" ps >/dev/null 2>&1
dead=$("$hakctl" -j ps | jq '[.processes[] | select(.state == "dead")] | length')
ok "at most 16 dead segments stay ($dead)" test "$dead" -le 16
"$hakctl" gc >/dev/null
done_testing
