# usdt.sh: the USDT points are those of the table, in the library and the archive, and what they say
# is what the library counts.
. "${HAK_SRC:-.}/tests/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need readelf binutils
need bpftrace bpftrace
need jq jq
need redis-server redis-server
need redis-benchmark redis-tools

# ---- in the files --------------------------------------------------------------------------------

table=$(sed -nE 's/^PROBE([1-4])\(([a-z_]+),.*/hakmem \2 \1/p' "$HAK_SRC/abi/probes.def" | sort)
# Provider, name and number of arguments of each point in a file, and "off" where it has no semaphore.
points() {
    readelf -n "$1" | awk '
        /Provider:/ { provider = $2 }
        /Name:/ { name = $2 }
        /Semaphore:/ { off = $NF ~ /^0x0*$/ ? " off" : "" }
        /Arguments:/ { print provider, name, NF - 1 off }' | sort -u
}
is "$(points "$lib")" "$table" 'libhakmem.so has the points of abi/probes.def, each with a semaphore'
# In a relocatable file there are no addresses yet.
is "$(points "$HAK_BUILD/libhakmem.a" | sed 's/ off$//')" "$table" 'libhakmem.a has them'

cat >"$tmp/point.c" <<'END'
#include "lib/base/usdt.h"
void point(void);
void point(void) { usdt_drain(ARGUMENT, 0); }
END
compile() {
    ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -O2 -I"$HAK_SRC" "$@" -c -o "$tmp/point.o" "$tmp/point.c" 2>&1
}
ok 'a point compiles' compile -DHAK_USDT -DARGUMENT=2048
is "$(points "$tmp/point.o")" 'hakmem drain 2 off' 'and is there'
ok 'without <sys/sdt.h> too' compile -DARGUMENT=2048
is "$(points "$tmp/point.o")" '' 'and is nothing then'
for on in -DHAK_USDT -UHAK_USDT; do
    like "$(compile $on '-DARGUMENT="text"')" 'usdt_drain.*from pointer' "arguments are checked ($on)"
done

# ---- attached ------------------------------------------------------------------------------------

# trace SCRIPT: bpftrace runs it in the background, and is attached when this returns; what it says is
# in $tmp/trace.  It ends with the test, or by trace_end.  1: the kernel doesn't let it.
tracer=
trace() {
    : >"$tmp/trace"
    in_background bpftrace -B line -o "$tmp/trace" -e "$1 interval:ms:50 { printf(\"attached\n\"); }" \
        >/dev/null 2>"$tmp/trace.err"
    tracer=$!
    wait_until eval "grep -q ^attached '$tmp/trace' || ! kill -0 $tracer"
    kill -0 "$tracer" 2>/dev/null
}
trace_end() {
    kill -INT "$tracer"
    wait "$tracer"
    sed -i '/^attached/d' "$tmp/trace"
}
# What a map of the script holds under a key, or at all.
traced() { awk -F': ' -v key="@$1" '$1 == key { print $2; found = 1 } END { if (!found) print 0 }' "$tmp/trace"; }

# By a name of its own: bpftrace's pid is not ours where we are in a pid namespace.
name=hak$RANDOM$RANDOM
cp "$HAK_BUILD/tests/puppet" "$tmp/$name"
point() { printf 'usdt:%s:hakmem:%s /comm == "%s"/ ' "$lib" "$1" "$name"; }

puppet_program=$tmp/$name
puppet_start
order threads 3
for t in 0 1 2 3; do order pairs $t 64 10; done
if ! trace "
    $(point refill) { @refill = count(); @refilled = sum(arg2); @bin[arg0, arg1] = count(); }
    $(point drain) { @drain = count(); @interval = max(arg0); }
    $(point remote_drain) { @remote_drain = count(); @remote_drained = sum(arg0); }
    $(point os_map) { @os_map = count(); @mapped = sum(arg1); @huge[arg2] = sum(arg1); }
    $(point os_unmap) { @os_unmap = count(); @unmapped = sum(arg1); }
    $(point os_purge) { @os_purge = count(); @purged = sum(arg1); }
    $(point superslab_acquire) { @acquire = count(); @unaligned = max(arg0 % (2 << 20)); }
    $(point superslab_release) { @release = count(); }
    $(point thread_start) { @start = count(); @starter[tid] = count(); }
    $(point thread_exit) { @exit = count(); }
    $(point knob_apply) { @apply[arg0] = count(); }
    $(point lock_wait) { @wait[str(arg1)] = count(); }"; then
    said=$(grep -iE 'permi|not supported|ERROR' "$tmp/trace.err" | tail -n 1)
    [ "$(id -u)" = 0 ] && [[ $said != *ermi* ]] || { skip 'points attached to' "bpftrace: $said"; done_testing; }
    tap_result 1 'bpftrace attaches to every point' || diag "$(cat "$tmp/trace.err")"
    done_testing
fi
tap_result 0 'bpftrace attaches to every point'

stats "$tmp/before"
for t in 1 2 3; do order alloc $t 64 20000; done
order freeof 1 2 20000                      # another's blocks: remote frees
order free 1 10000
order pairs 2 64 10000                      # its owner takes them back
for size in 100 1000 20000; do order alloc 3 $size 2000; order free 3 2000; done
for i in 1 2 3; do order alloc 0 5000000 1; order realloc 0 $((5000000 + i * 9000000)); order free 0 1; done
order threads 1                             # thread 4
order alloc 4 32 10
order end 4
"$hakctl" -p "$puppet" set tiny.heap_v2.class_mask=0xE --no-wait >/dev/null
for t in 0 1 2 3; do order pairs $t 64 3000; done
order free 1 10000
order free 3 20000
"$hakctl" -p "$puppet" set pool.lru_max=0 os.huge_cache=0 --no-wait >/dev/null
for t in 0 1 2 3; do order pairs $t 64 3000; done
"$hakctl" -p "$puppet" purge >/dev/null          # all are idle: done by their next ticks
for t in 0 1 2 3; do order pairs $t 64 3000; done
stats "$tmp/after"
trace_end

moved() { jq -n --slurpfile a "$tmp/before" --slurpfile b "$tmp/after" "\$b[0].counters.$1 - \$a[0].counters.$1"; }
held() {  # MAP COUNTER: equal, and not for want of events
    local n
    n=$(moved "$2")
    is "$(traced "$1")" "$n" "@$1 = $2"
    [ "$n" -gt 0 ] || tap_result 1 "$2 has moved"
}
if [ "$HAK_STATS" = yes ]; then
    held refill refills
    held refilled refilled
    held drain drains
    held remote_drain remote_drains
    held remote_drained remote_drained
    held os_map os_map
    held os_unmap os_unmap
    held os_purge os_purge
    held purged os_purge_bytes
    held acquire pool_acquire
    held start threads_started
    held exit threads_ended
    is "$(awk '/^@wait/ { n += $2 } END { print n + 0 }' "$tmp/trace")" "$(moved lock_waits)" '@wait = lock_waits'
    is $(($(traced mapped) - $(traced unmapped))) "$(moved mapped_bytes)" 'what came less what went = mapped_bytes'
fi
is "$(traced interval)" 2048 'the drain interval is the knob'\''s value'
is "$(traced unaligned)" 0 'SuperSlabs start at multiples of 2 MiB'
ok 'SuperSlabs were released' test "$(traced release)" -gt 0
ok 'some of what was mapped is huge' test "$(traced 'huge[1]')" -gt 5000000
is "$(traced 'apply[1]')" 4 'every thread has applied generation 1'
is "$(traced 'apply[2]')" 4 'and generation 2'
is "$(grep -c '^@starter' "$tmp/trace")" 1 'one thread has begun, and says so itself'
bins=$(sed -nE 's/^BIN(_ALIGNED)?\( *([0-9]+),.*/\2/p' "$HAK_SRC/abi/sizes.def" | awk '{ print NR - 1 ", " $1 }')
strange=$(sed -nE 's/^@bin\[(.*)\]:.*/\1/p' "$tmp/trace" | grep -vxF "$bins")
is "$strange" '' 'every bin in a refill is one of the table, with its size'
puppet_end

# ---- the manual's one-liners, while redis-server serves ------------------------------------------

port=$((20000 + $$ % 20000))
in_background preloaded redis-server --port $port --save '' --appendonly no --io-threads 2 >"$tmp/redis.log"
redis=$!
wait_until redis-cli -p $port ping
oneliners=$(sed -nE '/^bpftrace -e/p' "$HAK_BUILD/man/hakmem-probes.7")
is "$(grep -oE ':[a-z_]+ \{' <<<"$oneliners" | tr -d ': {' | sort)" "$(cut -d' ' -f2 <<<"$table")" \
    'hakmem-probes(7) has a one-liner for each point'
all=
while IFS= read -r line; do
    script=$(eval "printf '%s' ${line#bpftrace -e }")       # as a shell would, with its $lib
    name=$(sed -E 's/^[^{]*:([a-z_]+) \{.*/\1/' <<<"$script")
    all+=" ${script//@/@$name}"
    ok "bpftrace takes the one-liner for $name" bpftrace -d -e "$script"
done <<<"$oneliners"
if trace "$all"; then
    preloaded "$HAK_BUILD/tests/work" >"$tmp/work"          # threads, which redis-server has few of
    is "$(cat "$tmp/work")" "done" "a program with threads runs to its end"
    redis-benchmark -p $port -q -n 20000 -r 20000 -d 900 -t set,get,lpush >"$tmp/bench" 2>&1
    is "$(grep -c 'requests per second' "$tmp/bench")" 3 'redis-benchmark runs to its end'
    redis-cli -p $port flushall >/dev/null
    "$hakctl" -p $redis purge >/dev/null
    trace_end
    for name in refill drain superslab_acquire os_map thread_start thread_exit knob_apply remote_drain; do
        ok "the one-liner for $name prints something" grep -q "^@$name" "$tmp/trace"
    done
    like "$(cat "$tmp/trace")" '@os_mapbytes\[redis-server, 0\]: [0-9]+' 'redis-server has mapped SuperSlabs'
    unlike "$(grep '^@lock_wait' "$tmp/trace")" '@lock_waitns\[(\]|[^a-z])' 'every lock waited for has a name'
else
    tap_result 1 'the one-liners all attach' || diag "$(cat "$tmp/trace.err")"
fi
done_testing
