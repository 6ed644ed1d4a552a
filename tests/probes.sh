# probes.sh: hakprobe counts what a process does, no more and no less, and says whose it is.
. "${HAK_SRC:-.}/tests/tap.sh"
need jq jq
need strace strace
need setpriv util-linux
need unshare util-linux
need clang clang
. "$HAK_SRC/tests/caller.sh"

# ---- against strace, from before exec to the end --------------------------------------------------

caller a
caller b
wait_until stopped $a
wait_until stopped $b
in_background strace -qq -f -p $a -e trace=mmap,munmap,madvise,mremap,brk,futex -o "$tmp/strace"
tracer=$!
wait_until grep -q "^TracerPid:.$tracer" /proc/$a/status
probe "$tmp/life" -p $a
go b
go a
for i in 1 2 3; do
    echo round >&$to_b                  # at the same time
    tell a round
    answer_of b
    tell b large
done
tell a large
tell a contend 4
"$hakctl" -j stats -p $a >"$tmp/stats"
dismiss a
wait $prober
is $? 0 'hakprobe ends with its process'
wait $tracer
for call in mmap munmap madvise mremap brk futex; do
    is $(($(all_counted "$tmp/life" $a $call calls) + $(all_counted "$tmp/life" $a $call unfinished))) \
        "$(grep -cE "^[0-9]+ +$call\(" "$tmp/strace")" "$call: as many as strace saw"
    # A value that strace had to wait for is on a line of its own.
    is "$(all_counted "$tmp/life" $a $call errors)" \
        "$(grep -E "^[0-9]+ +($call\(|<\.\.\. $call resumed)" "$tmp/strace" | grep -cE '= (-1|\?) ?E')" "$call: as many that failed"
    for whose in allocator program; do
        is "$(counted "$tmp/life" $a $call $whose 'histogram | add')" "$(counted "$tmp/life" $a $call $whose calls)" \
            "$call of the $whose: the histogram sums to the count"
    done
done
if [ "$HAK_STATS" = yes ]; then
    for call in mmap munmap madvise mremap; do
        is "$(counted "$tmp/life" $a $call allocator calls)" "$(jq ".counters.${call}_calls" "$tmp/stats")" \
            "$call: the allocator's share is what it counts itself"
    done
fi
is "$(lost "$tmp/life")" "$nothing_lost" 'nothing is lost'
is "$(jq -c '[.processes[].pid]' "$tmp/life")" "[$a]" 'no other process is counted'
is "$(jq -r '.processes[0].comm' "$tmp/life")" calls 'its name is that after exec'

# ---- between two markers ---------------------------------------------------------------------------

"$hakctl" -j stats -p $b >"$tmp/before"
caller c
wait_until stopped $c
go c
probe "$tmp/between" -p $b
tell c round
tell b large
faults=$answer
tell b round
faults=$((faults + answer))
tell c round
"$hakctl" -j stats -p $b >"$tmp/after"
probe_end
is $? 0 'SIGINT ends hakprobe, and that is no error'
exactly() {  # CALL FIELD NUMBER
    is "$(counted "$tmp/between" $b "$1" program "$2")" "$3" "$1: $3 $2"
}
exactly mmap calls 160
exactly mmap errors 40
exactly mmap bytes $((40 * (2 * 1048576 + 4096)))
exactly munmap calls 160
exactly munmap errors 40
exactly munmap bytes $((40 * (3 * 1048576 + 4096)))
exactly madvise calls 81            # one of them is that of `large`
exactly madvise errors 40
exactly madvise bytes $((40 * 1048576 + 20 * 1048576))
exactly mremap calls 40
exactly mremap bytes $((40 * 2 * 1048576))
exactly futex calls 120
exactly futex errors 80
exactly brk calls 80
exactly brk errors 0
exactly brk bytes $((80 * 65536))
exactly page-fault calls $((40 * 3))
is "$(counted "$tmp/between" $b page-fault allocator calls)" 100 'page-fault: those in the middle of a block are the allocator'\''s'
is "$(all_counted "$tmp/between" $b page-fault calls)" "$faults" 'page-fault: all together, as getrusage says'
is "$(jq -c '[.processes[0].waits[] | select(.lock == null) | .waits]' "$tmp/between")" '[80]' \
    'the waits at the one futex, by its address'
if [ "$HAK_STATS" = yes ]; then
    for call in mmap munmap madvise mremap futex; do
        is "$(counted "$tmp/between" $b $call allocator calls)" \
            "$(jq -n --slurpfile a "$tmp/before" --slurpfile b "$tmp/after" \
                "\$b[0].counters.${call}_calls - \$a[0].counters.${call}_calls")" "$call: the allocator's own count"
    done
fi

# ---- futexes, by address and name -------------------------------------------------------------------

probe "$tmp/locks" -p $b -k futex
for ((i = 0; i < 50; i++)); do
    tell b contend 8
    "$hakctl" -j stats -p $b >"$tmp/after"
    [ "$(jq '.counters.futex_calls' "$tmp/after")" = 0 ] || break
done
probe_end
ok 'the allocator'\''s threads have waited for each other' test "$(jq '[.processes[0].waits[] | select(.lock != null)] | length' "$tmp/locks")" -gt 0
is "$(jq -r '.processes[0].waits[].lock | select(. != null)' "$tmp/locks" | grep -vxE 'pool|huge|heaps|late|meta|start')" '' \
    'and its locks have names'
is "$(jq '[.processes[0].calls[].call] | unique | join(",")' "$tmp/locks")" '"futex"' '-k futex: no other call'


ok 'its programs compile for aarch64 as well' clang -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_arm64 -std=gnu11 \
    -Wall -Wextra -Wno-unused-parameter -Werror -I"$HAK_SRC" -c -o "$tmp/arm64.o" "$HAK_SRC/probes/hakprobe.bpf.c"
done_testing
