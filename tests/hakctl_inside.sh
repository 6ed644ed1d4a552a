# hakctl_inside.sh: a process sets its own knobs from two threads (hak_set_all) while hakctl sets
# others from outside, some of them killed: nothing is lost on either side, and nothing is half done.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/writer.sh"

rounds=${HAK_LONG:+500}
rounds=${rounds:-40}
pairs=('tiny.sll.drain_interval tiny.refill.count_hot 64' 'tiny.p0.drain_thresh tiny.refill.batch 64'
    'os.decay_ms os.huge_cache 64')

in_background "$HAK_BUILD/tests/inside" race >"$tmp/inside"
inside=$!
names=$(printf '%s\n' "${pairs[@]% *}" tiny.refill.count_mid\ tiny.bump_chunk pool.lru_max\ pool.empty_slabs | xargs -n1)
sets_knobs() { "$hakctl" describe pool.lru_max | grep -q ', from api '; }
ok 'it sets knobs' wait_until sets_knobs
ok 'all pairs from outside are equal' "$hakctl" set -q $(printf '%s=1\n' $(printf '%s\n' "${pairs[@]% *}"))

generation() { "$hakctl" -j list | grep -o '"generation":[0-9]*' | cut -d: -f2; }
writers=()
for w in "${!pairs[@]}"; do
    writer $w ${pairs[$w]} 2>"$tmp/err.$w" &
    writers+=($!)
done
torn=0
while kill -0 "${writers[@]}" 2>/dev/null && [ "$(ls "$tmp"/writer.* 2>/dev/null | wc -l)" -lt ${#pairs[@]} ]; do
    torn=$((torn + $("$hakctl" get -n $names | paste -d' ' - - | awk '$1 != $2' | wc -l)))
    sleep 0.05
done
wait "${writers[@]}"
kill -USR1 $inside || bail 'it has died'
at_its_end() { [ "$(wc -l <"$tmp/inside")" = 2 ]; }
ok 'it comes to its end' wait_until at_its_end
is "$(cat "$tmp"/err.* | grep -v Killed)" '' 'no set of hakctl failed but those that were killed'
is $torn 0 'no set was half applied'
sets=1 kills=0
for w in "${!pairs[@]}"; do
    read -r done killed value <"$tmp/writer.$w"
    names_of=${pairs[$w]% *}
    is "$("$hakctl" get -n $names_of | xargs)" "$value $value" "$names_of: the last values from outside"
    sets=$((sets + done)) kills=$((kills + killed))
done
while read -r done value first second; do
    is "$("$hakctl" get -n $first $second | xargs)" "$value $value" "$first $second: the last values from inside, of $done sets"
    sets=$((sets + done))
done <"$tmp/inside"
ok "generation $(generation): $sets sets were done, and at most $kills more killed too late" \
    test "$(generation)" -ge $sets -a "$(generation)" -le $((sets + kills))
is "$("$hakctl" stats -j | grep -o '"generations_refused":[0-9]*')" '"generations_refused":0' 'none was refused'
done_testing
