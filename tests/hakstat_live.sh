# hakstat_live.sh: hakstat on processes under the library: what is on the screen is what hakctl says
# of the same time, a knob that is edited on screen changes the process, exec is followed.
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
. "$HAK_SRC/tests/screen.sh"
need jq jq

classes() { jq -c '.classes[] | [.class, .allocs, .frees, .heap_v2_hits, .fast_cache_hits, .slow_allocs]' "$1"; }
# The rows that the screen must show for what happened between two readings of hakctl.
expected_rows() {
    paste <(classes "$tmp/from") <(classes "$tmp/to") | jq -rs '
        def pct(p; whole): (1000 * p / whole | round) / 10 | tostring | if test("\\.") then . else . + ".0" end;
        [range(0; length; 2) as $i | [.[$i], .[$i + 1]]] | .[]
        | [.[1][0]] + [range(1; 6) as $k | .[1][$k] - .[0][$k]] | select(.[1] > 0)
        | "\(.[0]) \(.[1]) \(.[2]) \(pct(.[3]; .[1])) \(pct(.[4]; .[1])) \(pct(.[5]; .[1]))"'
}
# The same rows of the screen: without the size and what comes after the shares.
screen_rows() { screen | sed -nE 's/^(C[0-7]|mid|large|huge) [^ ]+ ([0-9]+ [0-9]+( [0-9.]+){3}) .*/\1 \2/p' | grep -v ' 0 0 '; }
agree() {       # DESCRIPTION
    local rows
    rows=$(expected_rows)
    rows_are() { [ "$(screen_rows)" = "$rows" ]; }
    wait_until rows_are
    is "$(screen_rows)" "$rows" "$1"
}
# Counts start now, on the screen and in $tmp/from.
reset() {
    type_keys 1 0
    sees 'counts start here' 'counts start here'
    stats "$tmp/from"
}
set_knob() {    # ROWS-DOWN VALUE: on the knobs screen
    type_keys 4 Home
    local i
    for ((i = 0; i < $1; i++)); do type_keys Down; done
    type_keys Enter
    sees ' = ' "a value for knob $1 is asked for"
    type_text "$2"
    type_keys Enter
}
row_of() { sed -nE 's/^KNOB\([^"]*"([^"]*)".*/\1/p' "$HAK_SRC/abi/knobs.def" | grep -nx "$1" | cut -d: -f1; }
mask=$(($(row_of tiny.heap_v2.class_mask) - 1))
trace=$(($(row_of trace.ring) - 1))

puppet_start
order threads 2
order pairs 1 16 100
screen_open 100x40 "$hakstat" -p "$puppet" -d 0.1 --cumulative
sees '[1 classes]' 'a process under the library'
sees "puppet pid $puppet" 'by its name'

reset
order pairs 0 16 700
order pairs 1 16 40
order pairs 1 100 5000
order alloc 2 3000 60
order alloc 2 100000 3
order free 2 2
stats "$tmp/to"
agree 'the screen has the rows of hakctl -j stats, to the last call'
like "$(screen_rows)" 'C1 740 740' 'of 740 pairs of 16 bytes, for one'

# What else is counted: as it is now, and what it has moved by.
of() { jq "$2" "$tmp/$1"; }
moved() { echo $(($(of to "$1") - $(of from "$1"))); }
type_keys 7
for counter in superslabs_created threads_started mmap_calls madvise_calls refills drains pool_claim pool_acquire; do
    type_keys /
    type_text "$counter"
    type_keys Enter
    sees "$counter $(of to ".counters.$counter") $(moved ".counters.$counter") " "counters: $counter as hakctl has it"
done
type_keys '\\'
sees "mmap $(moved .counters.mmap_calls) munmap $(moved .counters.munmap_calls) futex $(moved .counters.futex_calls) by own counters" \
    'system calls likewise'
type_keys 5
for path in refill drain os_map; do
    sees "$path $(moved ".latencies.$path | add") " "latencies: $path as hakctl has it"
done
type_keys 2
sees "$puppet puppet busy 700 700 " 'threads: the main one did 700 pairs'

# The map: which slabs there are at once, how full they are when their thread has looked.
type_keys 3
slabs_of() { screen | sed -nE "s/.*[█0-9mL] $1 ([0-9]+)( .*)?$/\\1/p"; }
before=$(slabs_of C7)
order alloc 0 1000 6500
more() { [ "$(slabs_of C7)" -ge $((${before:-0} + 400)) ]; }
ok 'superslabs: 6,500 blocks of 1 KiB are four hundred slabs of C7 more' wait_until more
order pairs 0 16 5000
sees '█████████████████' 'full ones, once their thread has looked'
order free 0 6500
order pairs 0 16 5000
sees_no '█████████████████' 'and not full any more'
before=$(slabs_of large)
order alloc 0 160000 20
more() { [ "$(slabs_of large)" -eq $((before + 200)) ]; }
ok '20 large blocks of ten slabs are 200 slabs' wait_until more
order free 0 20

set_knob "$mask" 0
sees "tiny.heap_v2.class_mask: 0xFF -> 0x0 (generation 1, applied by 0/0 threads, 3 idle)" \
    'mask 0x0 is set: every thread sleeps'
order pairs 0 16 3000
order pairs 1 16 3000
order pairs 2 16 3000
sees 'generation 1 applied by 3/3' 'they apply it when they move'
is "$("$hakctl" get -n tiny.heap_v2.class_mask -p "$puppet")" 0x0 'the process has it'
reset
order pairs 0 16 1000
order pairs 0 8 1000
stats "$tmp/to"
agree 'the screen and hakctl agree'
like "$(screen_rows)" 'C1 1000 1000 0.0 ' 'with mask 0x0 C1 takes no L0 hit'
set_knob "$mask" 0xE
sees '0x0 -> 0xE (generation 2, applied by ' 'mask 0xE is set'
order pairs 0 16 3000
reset
order pairs 0 16 1000
order pairs 0 8 1000
stats "$tmp/to"
agree 'the screen and hakctl agree again'
like "$(screen_rows)" 'C0 1000 1000 0.0 .*'$'\n''C1 1000 1000 (99|100)\.' 'with mask 0xE C1 takes L0 hits, C0 does not'

set_knob "$trace" 1
sees 'trace.ring: 0 -> 1' 'the trace ring is switched on'
order pairs 0 16 3000
set_knob "$mask" 0xFF
sees '0xE -> 0xFF' 'another knob is changed'
order pairs 0 16 3000
order alloc 0 500 20
type_keys 6
sees " $puppet refill C6 512 " 'events: a refill of C6'
sees " $puppet knob apply " 'events: the knob'
type_keys /
type_text apply
sees_no 'refill C6' 'events are filtered like others'
type_keys Enter '\' 2
sees "$puppet puppet" 'threads: by their kernel names'
order end 1
sees 'ended' 'a thread that ends'

order exec
sees "now pid $puppet, exe" 'exec: the screen goes on with what the process has become'
order pairs 0 16 10
sees 'threads 1 generation 0 applied by 1/1' 'whose knobs are those at start'
puppet_end
sees 'the process has ended' 'its end is said'
screen_close
done_testing
