# exact.sh: counters are exact.  A process makes a known number of calls per size in several threads,
# some of them ended, some idle for ever, and is read from outside: every number is equal, to the
# last call.
. "${HAK_SRC:-.}/tests/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need jq jq

declare -A allocs frees

class_of() {
    local n=$1 c=0 max
    for max in 8 16 32 64 128 256 512 1024; do
        [ "$n" -le "$max" ] && { echo "C$c"; return; }
        c=$((c + 1))
    done
    if   [ "$n" -le 32768 ]; then echo mid
    elif [ "$n" -le 1000000 ]; then echo large
    else echo huge
    fi
}

# Order, and note what must be counted.
pairs() { order pairs "$1" "$2" "$3"; count "$2" "$3" "$3"; }
alloc() { order "${4:-alloc}" "$1" "$2" "$3"; count "$2" "$3" 0; }
free()  { order free "$1" "$3"; count "$2" 0 "$3"; }
freeof() { order freeof "$1" "$2" "$4"; count "$3" 0 "$4"; }
count() {  # SIZE ALLOCS FREES
    local c
    c=$(class_of "$1")
    allocs[$c]=$((${allocs[$c]:-0} + $2))
    frees[$c]=$((${frees[$c]:-0} + $3))
}

expected() {
    local c
    for c in C0 C1 C2 C3 C4 C5 C6 C7 mid large huge; do
        echo "$c ${allocs[$c]:-0} ${frees[$c]:-0} $((${allocs[$c]:-0} - ${frees[$c]:-0}))"
    done
}
# Class, allocations, frees and live blocks between two readings.
difference() {
    jq -rn --slurpfile a "$1" --slurpfile b "$2" '
        [$a[0].classes, $b[0].classes] | transpose[] |
        "\(.[0].class) \(.[1].allocs - .[0].allocs) \(.[1].frees - .[0].frees) \(.[1].live - .[0].live)"'
}
counter() { jq ".counters[\"$2\"]" "$1"; }
counted() { echo $(($(counter "$tmp/b" "$1") - $(counter "$tmp/a" "$1"))); }

puppet_start
order threads 7
order alloc 6 1 1               # and nothing more from this one
# What a thread's first call makes (its heap and slot) is not among the calls that are counted.
stats "$tmp/a"

for size in 0 1 8 9 16 17 32 33 48 64 65 100 128 200 256 300 500 512 1000 1024 1025 3000 20000 32768 \
            32769 100000 900000 3000000; do
    pairs 1 "$size" 101
    alloc 2 "$size" 7
    freeof 3 2 "$size" 3
    free 2 "$size" 4
done
pairs 4 64 100000               # across many drains and refills
pairs 4 2000 20000
alloc 5 48 30000                # more than any cache holds
free 5 48 29999
alloc 2 1000 500 calloc
alloc 2 64 10 aligned
order end 1                     # an ended thread's calls stay counted
order end 5
freeof 3 5 48 1
alloc 3 500 12345
order null 3 1000               # free(NULL) counts nothing,
order fail 7 1000               # nor does a call that returns no memory, also if it is all that a thread does
stats "$tmp/b"
is "$(difference "$tmp/a" "$tmp/b")" "$(expected)" \
   'allocations, frees and live blocks of every class, to the last call'
is "$(jq -c '[.exact, .state]' "$tmp/b")" '[true,"running"]' 'hakctl says that they are exact'
is "$(counted failed)" 1000 'a thousand calls that returned no memory'
is "$(jq '.threads' "$tmp/b")" 6 'the main thread and five others are there'
is "$(jq '[.classes[] | .heap_v2_hits + .fast_cache_hits + .slow_allocs == .allocs] | all' "$tmp/b")" \
   true 'each allocation was served by one of the three'
is "$(jq '[.classes[] | .live == .allocs - .frees] | all' "$tmp/b")" true 'live blocks are the difference'

# The parts of free, by who did it.
is "$(counted remote_frees)" $((28 * 3 - 4 * 3 + 1)) 'frees of other threads'"'"' small and mid blocks'

stats "$tmp/c"
is "$(difference "$tmp/b" "$tmp/c")" "$(difference "$tmp/b" "$tmp/b")" 'looking moves no number'

# realloc.
stats "$tmp/a"
order alloc 2 100 1
order realloc 2 105
is "$answer" same 'realloc within the bin stays'
order realloc 2 600
is "$answer" moved 'realloc to another moves'
stats "$tmp/b"
is "$(counted realloc_in_place)" 1 'one call of realloc in place'
is "$(difference "$tmp/a" "$tmp/b" | grep -E '^C[47]' | tr '\n' ' ')" 'C4 1 1 0 C7 1 0 1 ' \
   'the moving one is an allocation and a free'

live_bytes() { jq "[.classes[] | select(.class == \"$2\").live_bytes][0]" "$1"; }
# From one class to the next and back: the block stays in the higher one, and has the bytes that it has.
for border in large,34000,30000,65536,32768 huge,2200000,1900000,2203648,1900544; do
    IFS=, read -r class above below large small <<<"$border"
    stats "$tmp/a"
    order alloc 2 "$above" 1
    for size in "$below" "$above" "$below"; do
        order realloc 2 "$size"
        is "$answer" same "realloc from $class to $size bytes stays"
    done
    stats "$tmp/b"
    is "$(counted realloc_in_place)" 3 'and counts as that'
    is $(($(live_bytes "$tmp/b" $class) - $(live_bytes "$tmp/a" $class))) "$small" 'with the bytes that it has left'
    order realloc 2 "$above"
    stats "$tmp/b"
    is $(($(live_bytes "$tmp/b" $class) - $(live_bytes "$tmp/a" $class))) "$large" 'and has again'
done

# Live bytes are in blocks' sizes.
stats "$tmp/a"
order alloc 2 40 100
order alloc 2 3000 10
stats "$tmp/b"
is $(($(live_bytes "$tmp/b" C3) - $(live_bytes "$tmp/a" C3))) 4800 'live bytes of 100 blocks of 48'
is $(($(live_bytes "$tmp/b" mid) - $(live_bytes "$tmp/a" mid))) 31360 'and of 10 blocks of 3136'

# The huge tier: the pages it has are what malloc_usable_size says.
stats "$tmp/a"
order alloc 2 5000000 1
order usable 2
stats "$tmp/b"
is $(($(live_bytes "$tmp/b" huge) - $(live_bytes "$tmp/a" huge))) "$answer" 'live bytes of a huge block'

# What was asked for, of the requests that took a slow path.
stats "$tmp/a"
order alloc 2 1300 500
stats "$tmp/b"
asked=$(counted sampled_request_bytes) given=$(counted sampled_block_bytes)
is $((asked > 0 && asked * 1536 == given * 1300)) 1 "1,300 of 1,536 bytes are asked for ($asked of $given)"
stats "$tmp/a"
order alloc 2 100000 3
stats "$tmp/b"
is "$(counted sampled_request_bytes) $(counted sampled_block_bytes)" "300000 $((3 * 131072))" \
   'every request of the large tier is a sample, of four pairs of slabs'

# Of three more threads, two take over the heaps of those that have ended; the third one's is new.
stats "$tmp/a"
order threads 3
for thread in 7 8 9; do order pairs $thread 16 1; done
stats "$tmp/b"
is "$(counted heaps) $(($(counted meta_bytes) >= 128 * 1024))" '1 1' "a heap counts in meta_bytes ($(counted meta_bytes))"

ok 'every conservation law holds' "$hakctl" stats --check -p "$puppet"
puppet_end
done_testing
