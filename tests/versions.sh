# versions.sh: a tool of one version against a library of another, both ways.  The other version is
# made by tests/versions.py: knobs and counters added, removed and in another order.  Of one process, the
# tools of both versions say the same, to the letter.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need python3 python3
need jq jq

mask=tiny.heap_v2.class_mask

# ---- The other version ----

other=$tmp/other
mkdir "$other"
cp -r "$HAK_SRC/abi" "$HAK_SRC/lib" "$HAK_SRC/shm" "$HAK_SRC/hakctl" "$other"
sed 's/\(define PACKAGE_VERSION\).*/\1 "8.8.8"/' "$HAK_BUILD/config.h" >"$other/config.h"
compile() {     # OUTPUT FLAG...
    ${CC:-cc} -std=gnu11 ${CX16:+"$CX16"} -O1 -g -D_GNU_SOURCE= -include "$other/config.h" -I"$other" -o "$@"
}
ok 'its tables are others' python3 "$HAK_SRC/tests/versions.py" "$other" tools
ok 'its hakctl' compile "$tmp/hakctl" -DHAK_LIBDIR='""' "$other"/hakctl/*.c "$other"/shm/*.c -ljansson -lm
ok 'its descriptors are longer' python3 "$HAK_SRC/tests/versions.py" "$other" library
ok 'its library' compile "$tmp/libhakmem.so" -shared -fPIC -fvisibility=hidden -ftls-model=initial-exec \
    -fno-builtin "-Wl,--version-script=$HAK_SRC/lib/hakmem.map" "$other"/lib/*/*.c
other_hakctl=$tmp/hakctl own_hakctl=$hakctl
is "$(grep -c '"other[_.]' "$other"/abi/{knobs,stats}.def | cut -d: -f2 | xargs)" '1 4' 'it has more'
is "$(cat "$other"/abi/{knobs,stats}.def | grep -cE 'sfc_cascade|lock_wait')" 0 'and fewer'

# ---- Both tools on one library ----

same() {        # ARGUMENT...: both tools, but for the time of asking
    is "$("$own_hakctl" "$@" 2>&1 | grep -v '^hakmem_uptime')" "$("$other_hakctl" "$@" 2>&1 | grep -v '^hakmem_uptime')" \
        "$library: hakctl $*"
}
same_stats() {
    is "$("$own_hakctl" -j stats | jq -cS 'del(.time_ns, .uptime_ns)')" \
        "$("$other_hakctl" -j stats | jq -cS 'del(.time_ns, .uptime_ns)')" "$library: hakctl -j stats"
}
# looks KNOB COUNTER NO_KNOB NO_COUNTER: what this library has, and has not.
looks() {
    order pairs 0 16 5000
    order alloc 0 100 1000
    order threads 1
    order pairs 1 3000 300
    order freeof 1 0 500
    same list
    same get '*'
    same describe '*'
    same save -
    same diff
    same_stats
    same stats --prometheus
    same ps
    for tool in own_hakctl other_hakctl; do
        is "$("${!tool}" -j stats | jq ".counters | has(\"$2\"), has(\"$4\")" | xargs)" 'true false' "$tool: $2, and no $4"
        is "$("${!tool}" -j stats | jq '.classes[] | select(.class == "C1") | .allocs >= 5000 and .frees >= 5000')" true \
            "$tool: the calls of C1 are those of C1"
        like "$("${!tool}" set "$3=1" 2>&1; echo $?)" "hakctl: pid $puppet: $3: no such knob.*; nothing changed"$'\n5$' "$tool: no $3"
    done
}
# sets TOOL KNOB: it changes what it means to change, and nothing else.
sets() {
    local before
    before=$("${!1}" get '*' | grep -v "^$mask\|^$2 ")
    is "$("${!1}" set $mask=0x6 "$2=1" >/dev/null; echo $?)" 0 "$library: $1 sets"
    order pairs 0 16 4096
    is "$("$own_hakctl" get -n $mask "$2" | xargs)" '0x6 1' "$library: it is in force"
    is "$("${!1}" get '*' | grep -v "^$mask\|^$2 ")" "$before" "$library: and all else is as it was"
    is "$("${!1}" set --no-wait --revert-after 1.5 $mask=0x2 >/dev/null; echo $?)" 0 "$library: $1 sets for a while"
    order pairs 0 16 4096
    is "$("${!1}" get -n $mask)" 0x2 "$library: it is in force"
    sleep 1.6
    order pairs 0 16 4096
    is "$("${!1}" get -n $mask)" 0x6 "$library: and it is reverted"
    "${!1}" reset -q --all
    order pairs 0 16 4096
    is "$("${!1}" diff)" '' "$library: $1 resets all"
    echo 'pairs 0 64 60000000' >&"$to_puppet"
    like "$("${!1}" set $mask=0x8)" 'applied by 1/1 threads, 1 idle' "$library: $1 waits for the threads"
    is "$("${!1}" -j stats --check | jq -c '[.laws[].verdict] | map(select(. == "broken"))')" '[]' "$library: $1: no law is broken"
    is "$("${!1}" -j stats --check | jq -c '[.laws[] | select(.law == "used") | .verdict]')" '["holds"]' "$library: $1: that of used blocks holds"
    read -r -t 120 answer <&"$from_puppet"
    "${!1}" reset -q --all
    order pairs 0 16 4096
}

library='this library'
puppet_start
looks tiny.sfc_cascade lock_waits other.knob other_count
sets other_hakctl tiny.sfc_cascade
[ ! -x "$hakstat" ] || like "$("$hakstat" -b -n 1 -d 0.1 2>&1)" C1 "$library: hakstat"
puppet_end

library='the other library'
real=$lib
lib=$tmp/libhakmem.so
puppet_start
looks other.knob other_count tiny.sfc_cascade lock_waits
is "$("$own_hakctl" -j stats | jq -r .version)" 8.8.8 'it is the other one'
sets own_hakctl other.knob
[ ! -x "$hakstat" ] || like "$("$hakstat" -b -n 1 -d 0.1 2>&1; echo $?)" 'C1.*0$' "$library: hakstat"
order pairs 0 16 5000
python3 "$HAK_SRC/tests/segment_reader.py" "/dev/shm/hakmem.$puppet."* >"$tmp/read" || diag "$(cat "$tmp/read")"
is "$(jq -cS .counters "$tmp/read")" "$("$own_hakctl" -j stats | jq -cS .counters)" "$library: the reader in Python"
for tool in own_hakctl other_hakctl; do
    order pairs 0 64 5000
    "${!tool}" set -q --no-wait trace.ring=1
    order pairs 0 64 5000
    order alloc 0 640 300
    ok "$library: $tool trace" test "$("${!tool}" -j trace | jq '[.records[] | select(.event == "refill" and .class == "C7")] | length')" -gt 0
    "${!tool}" set -q --no-wait trace.ring=0
    order pairs 0 64 5000
done
puppet_kill KILL
same stats -p $puppet
same list -p $puppet
done_testing
