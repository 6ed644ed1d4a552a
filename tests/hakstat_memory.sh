# hakstat_memory.sh: hakstat takes no more memory in its last hour than in its first minute: it runs
# under the library itself, with 200 threads to watch and a sample every ten milliseconds.
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
. "$HAK_SRC/tests/screen.sh"
need jq jq

samples=350                             # at one a second, some minutes
[ "${HAK_LONG-}" ] && samples=3600     # an hour

puppet_start
order threads 199
for ((thread = 0; thread < 200; thread++)); do order alloc "$thread" 100 10; done
screen_open 100x40 env LD_PRELOAD="$lib" "$hakstat" -p "$puppet" -d 0.01 --record "$tmp/recording"
sees 'threads 200' 'two hundred threads are watched'
pid=$(in_tmux list-panes -F '#{pane_pid}')
pid=$(pgrep -P "$pid" -x hakstat || echo "$pid")
# The least that lives over some looks is what it keeps.
live() {
    for _ in {1..20}; do "$hakctl" -j stats -p "$pid" | jq '[.classes[].live] | add'; done | sort -n | head -1
}
# Each sample of so many threads is a block of the huge tier.
taken() { "$hakctl" -j stats -p "$pid" | jq '.classes[] | select(.class == "huge").allocs'; }
has_taken() { [ "$(taken)" -ge "$1" ]; }

for key in 1 2 3 4 5 6 7; do
    type_keys "$key"
    wait_until screen_has "[$key "
    ok "screen $key: fifty samples" wait_until has_taken $(($(taken) + 50))
    first=$(live) from=$(taken)
    ok "and $((samples / 7)) more" wait_until has_taken $((from + samples / 7))
    last=$(live)
    ok "$last blocks live as $first did" test "$last" -le $((first + 8))
done
type_keys q
sees 'exit 0' 'q leaves'
puppet_end
done_testing
