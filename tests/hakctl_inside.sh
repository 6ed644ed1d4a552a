# hakctl_inside.sh: a process sets its own knobs from two threads (hak_set_all) while hakctl sets
# others from outside, some of them killed: nothing is lost on either side, and nothing is half done.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"

rounds=${HAK_LONG:+500}
rounds=${rounds:-40}
pairs=('tiny.sll.drain_interval tiny.refill.count_hot' 'tiny.p0.drain_thresh tiny.refill.batch'
    'os.decay_ms os.huge_cache')

in_background "$HAK_BUILD/tests/inside" race >"$tmp/inside"
inside=$!
names=$(printf '%s\n' "${pairs[@]}" tiny.refill.count_mid\ tiny.bump_chunk pool.lru_max\ pool.empty_slabs | xargs -n1)
first_sets() { [ "$("$hakctl" get -n pool.lru_max 2>/dev/null)" != 16 ] && "$hakctl" set -q $(sed 's/$/=1/' <<<"$names"); }
ok 'it sets knobs' wait_until first_sets

# writer NUMBER: leaves in a file how many sets were done, how many were killed, and the last value.
writer() {
    local first second value done=0 killed=0 round
    read -r first second <<<"${pairs[$1]}"
    RANDOM=$1
    for ((round = 1; round <= rounds; round++)); do
        value=$((1 + round % 64))
        if ((round % 8 == 0)); then
            "$hakctl" set -q --no-wait $first=$value $second=$value &
            sleep 0.00$((RANDOM % 10))
            kill -KILL $! 2>/dev/null
            wait $! 2>/dev/null
            killed=$((killed + 1))
        else
            "$hakctl" set -q --no-wait $first=$value $second=$value || exit
            done=$((done + 1))
        fi
    done
    "$hakctl" set -q --wait 60 $first=$value $second=$value || exit
    echo "$((done + 1)) $killed $value" >"$tmp/writer.$1"
}
generation() { "$hakctl" -j list | grep -o '"generation":[0-9]*' | cut -d: -f2; }
writers=()
for w in "${!pairs[@]}"; do
    writer $w 2>"$tmp/err.$w" &
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
    is "$("$hakctl" get -n ${pairs[$w]} | xargs)" "$value $value" "${pairs[$w]}: the last values from outside"
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
