# hakctl_race.sh: eight writers set knobs of one process at the same time, some of them killed in the
# middle: no update is lost, none is half applied, no lock stays behind.  Each writer has two knobs
# that it sets to the same value, in one set.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/writer.sh"
. "$HAK_SRC/tests/puppet.sh"

rounds=${HAK_LONG:+1250}
rounds=${rounds:-60}
pairs=(
    'tiny.sll.drain_interval tiny.refill.count_hot 64' 'tiny.refill.count_mid tiny.bump_chunk 64'
    'tiny.p0.drain_thresh tiny.refill.batch 64' 'pool.lru_max pool.empty_slabs 64'
    'os.decay_ms os.huge_cache 64' 'tiny.heap_v2.leftover_mode tiny.p0.no_drain 2'
    'tiny.inline_sll tiny.sfc_cascade 2' 'bench.fast_front tiny.front_direct 2'
)

puppet_start
echo 'pairs 0 64 1000000000000' >&"$to_puppet"
names=$(printf '%s\n' "${pairs[@]}" | awk '{ print $1; print $2 }')
ok 'all pairs are equal' "$hakctl" set -q $(sed 's/$/=1/' <<<"$names")

all_written() { [ "$(ls "$tmp"/writer.* 2>/dev/null | wc -l)" = ${#pairs[@]} ]; }

writers=()
for w in "${!pairs[@]}"; do
    writer $w ${pairs[$w]} 2>"$tmp/err.$w" &
    writers+=($!)
done
looks=0 torn=0
while kill -0 "${writers[@]}" 2>/dev/null && ! all_written; do
    "$hakctl" get -n $names >"$tmp/look" || bail 'get failed'
    looks=$((looks + 1))
    torn=$((torn + $(paste -d' ' - - <"$tmp/look" | awk '$1 != $2' | wc -l)))
done
wait "${writers[@]}"
is "$(cat "$tmp"/err.* | grep -v Killed)" '' 'no set failed but those that were killed'
ok 'every writer came to its end' all_written
ok "its values were looked at meanwhile: $looks times" test $looks -gt 0
is $torn 0 'and none was half applied'
sets=1 kills=0
for w in "${!pairs[@]}"; do
    read -r done killed value <"$tmp/writer.$w"
    read -r first second top <<<"${pairs[$w]}"
    is "$("$hakctl" get -n $first $second | tr '\n' ' ')" "$value $value " "writer $w: its last values are in force"
    sets=$((sets + done)) kills=$((kills + killed))
done
generation=$("$hakctl" -j list | grep -o '"generation":[0-9]*' | cut -d: -f2)
ok "generation $generation: $sets sets were done, and at most $kills more killed too late" \
    test $generation -ge $sets -a $generation -le $((sets + kills))
is "$("$hakctl" stats -j | grep -o '"generations_refused":[0-9]*')" '"generations_refused":0' 'none was refused'
done_testing
