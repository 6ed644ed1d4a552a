# segment_reader.sh: docs/segment-abi.md is enough to write a reader from, and says what
# abi/segment.h says.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need python3 python3
need jq jq

reader=$HAK_SRC/tests/segment_reader.py document=$HAK_SRC/docs/segment-abi.md
ok 'a reader of at most 60 lines' test "$(wc -l <"$reader")" -le 60
is "$(grep -oE '^ *(import|from) .*' "$reader" | xargs)" 'import json import mmap import os import struct import sys' \
    'that uses nothing of ours'

# ---- A process whose every call is known ----

puppet_start
order threads 2
order pairs 0 8 1000
order pairs 1 100 3000
order alloc 1 3000 77
order freeof 2 1 33
order alloc 0 100000 3
order alloc 0 5000000 2
order end 2
stats "$tmp/stats"
python3 "$reader" "/dev/shm/hakmem.$puppet."* >"$tmp/read" || diag "$(cat "$tmp/read")"
same() {    # FILTER DESCRIPTION
    is "$(jq -cS "$1" "$tmp/read")" "$(jq -cS "$1" "$tmp/stats")" "$2"
}
same .counters 'every counter: the total of hakctl -j stats'
same .latencies 'every histogram, bucket by bucket'
same '.classes | map({class, allocs, frees, live})' 'calls and live blocks, class by class'
is "$(jq '.classes[] | select(.class == "huge") | .live' "$tmp/read")" 2 'two huge blocks'
if [[ $("$hakctl" stats -p "$puppet") != *"counters compiled out"* ]]; then
    ok 'and none of it is all zeroes' jq -e \
        '.counters.remote_frees >= 33 and .counters.heap_v2_hits > 1000 and (.latencies.refill | add) > 0' "$tmp/read"
fi

# ---- A dead one, and what is no segment ----

puppet_kill KILL
"$hakctl" -j stats -p "$puppet" >"$tmp/stats"
python3 "$reader" "/dev/shm/hakmem.$puppet."* >"$tmp/read"
same .counters 'after kill -9'
head -c 8192 /dev/zero >"$tmp/none"
like "$(python3 "$reader" "$tmp/none" 2>&1)" 'AssertionError: not ABI 1, or not ready$' 'refuses another file'

# ---- The tables of the document against the header ----

# A row is "| offset | size | `field` |", of the last struct named.
awk -F'`' '
    BEGIN { print "#include <stddef.h>\n#include \"abi/segment.h\"" }
    match($0, /struct hak_[a-z_]+/) { s = substr($0, RSTART + 7, RLENGTH - 7) }
    /^\| offset \| size \| `hak_/ { s = $2; next }
    /^\| [0-9]+ \| [0-9]+ \| `/ {
        split($1, at, /[| ]+/)
        printf "_Static_assert(offsetof(struct %s, %s) == %d, \"%s.%s: offset\");\n", s, $2, at[2], s, $2
        printf "_Static_assert(sizeof((struct %s *)0)->%s == %d, \"%s.%s: size\");\n", s, $2, at[3], s, $2
        rows[s]++
    }
    END { for (s in rows) print "/* " s ": " rows[s] " */" }' "$document" >"$tmp/document.c"
fields() {  # STRUCT: how many the header declares, padding left out
    ${CC:-cc} -fpreprocessed -dD -E "$HAK_SRC/abi/segment.h" | sed -n "/^struct $1 {/,/^}/ { /^ /p }" | tr ';' '\n' |
        sed -E 's/^ *(char|u?int[0-9]+_t|struct [a-z_]+) *//' | tr ',' '\n' | grep -E '[a-z]' | grep -cvE '^ *pad'
}
for struct in seg_header knob_desc stat_desc bin_desc class_desc state origin_rec slot writer control trace_record; do
    struct=hak_$struct
    is "$(sed -n "s,^/\* $struct: \([0-9]*\) \*/\$,\1,p" "$tmp/document.c")" "$(fields $struct)" \
        "every field of $struct is in the document"
done
ok 'and where the document says' ${CC:-cc} -std=gnu11 -I"$HAK_SRC" -fsyntax-only "$tmp/document.c"
sed -i 's/ generation) == 8,/ generation) == 16,/; s/hak_slot, applied) == 8/hak_slot, applied) == 9/' "$tmp/document.c"
like "$(${CC:-cc} -std=gnu11 -I"$HAK_SRC" -fsyntax-only "$tmp/document.c" 2>&1)" 'hak_slot.applied: offset' \
    'an offset that is wrong would be found'
constants='HAK_VALUES_MAX 96 HAK_HIST_BUCKETS 32 HAK_TRACE_RECORDS 4096 HAK_MAP_SLABS 128 HAK_CELL_FREE 1 HAK_CELL_LRU 2 HAK_CELL_BIN 16 HAK_ABI_MAJOR 1 HAK_TRACE_KINDS 14 HAK_TICK_FREES 2048'
# shellcheck disable=SC2086
is "$(for name in $(xargs -n2 <<<$constants | cut -d' ' -f1); do
    echo "$name $(printf '#include "abi/segment.h"\nint x[%s];' "$name" | ${CC:-cc} -I"$HAK_SRC" -xc -c -o "$tmp/o" - &&
        echo $(($(nm -S "$tmp/o" | awk '{ print "0x" $2 }') / 4)))"
done | xargs)" "$constants" 'and the numbers that it names'
is "$(sed -n '1s/.*ABI \(.*\)/\1/p' "$document")" \
    "$(awk '/define HAK_ABI_M/ { printf "%s%s", s, $3; s = "." }' "$HAK_SRC/abi/segment.h")" 'the version in its title'
done_testing
