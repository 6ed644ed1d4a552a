# hakstat_probes.sh: hakstat shows what the kernel counts: by its own probes, or by those of a hakprobe.
. "${HAK_SRC:-.}/tests/alone.sh"
. "${HAK_SRC:-.}/tests/tap.sh"
. "$HAK_SRC/tests/screen.sh"
need jq jq
need setpriv util-linux
. "$HAK_SRC/tests/caller.sh"

# shown FILE CALL WHOSE FIELD: summed over the samples
shown() {
    jq -s --arg call "$2" --arg whose "$3" \
        "[.[].probes[] | select(.call == \$call and .whose == \$whose) | .$4] | add // 0" "$1"
}
caller a
wait_until stopped $a
go a

in_background "$hakstat" --probes -p $a -s probes -j -n 1000 -d 0.1 >"$tmp/own"
watcher=$!
wait_until test -s "$tmp/own"               # two samples make the first line: it counts
tell a large
tell a round
wait_until eval "jq -se '[.[].probes[] | select(.call == \"mremap\" and .whose == \"program\") | .calls] | add >= 40' '$tmp/own'"
kill $watcher
is "$(shown "$tmp/own" mremap program calls)" 40 '--probes: the calls of a round, in the samples together'
is "$(shown "$tmp/own" mmap program errors)" 40 'and those that failed'
is "$(shown "$tmp/own" page-fault allocator calls)" 100 'and page faults in a block'

run_and_say() {
    out=$("$@" 2>&1)
    code=$?
}
run_and_say "$hakstat" -p $a -s probes -j -n 1 -d 0.1
is "$code,$(jq -c .probes <<<"$out")" '0,[]' 'without probes there are no rows, and that is no error'
run_and_say "$hakstat" -p $a -s probes -n 1 -d 0.1
like "$out" 'Nobody counts in the kernel: start hakstat with --probes' 'text says why'
run_and_say setpriv --bounding-set=-sys_admin,-bpf,-perfmon "$hakstat" --probes -p $a -n 1
is "$code,$out" "4,hakstat: pid $a: --probes: loading BPF programs needs CAP_BPF and CAP_PERFMON; root has both" \
    '--probes without the privileges'
run_and_say "$hakstat" --probes --replay "$tmp/file"
is "$code" 2 '--probes with a recording'

# ---- pinned ------------------------------------------------------------------------------------------

mount -t bpf none /sys/fs/bpf || bail 'no BPF file system'
screen_open 100x30 "$hakstat" -p $a -s probes -d 0.1
sees 'Nobody counts in the kernel: start hakstat with --probes' 'the screen says how to have it'
sees 'by own counters' 'and the head, whose counts it shows'
probe "$tmp/pinned" -p $a --pin
tell a large
tell a round
type_keys c
sees 'page-fault allocator 100' 'the counts of a hakprobe that pins them'
sees 'mremap program 40' 'since it began'
sees 'by the kernel' 'the head has the kernel'\''s counts'
type_keys 0
sees_no 'page-fault allocator 100' 'from now on, after 0'
tell a round
sees 'mremap program 40' 'only what came since'
"$hakprobe" -q -n 1 -p $a --pin >"$tmp/second" 2>&1
is $? 1 'a second hakprobe can'\''t pin there'
like "$(cat "$tmp/second")" 'hakprobe: pid [0-9]+: /sys/fs/bpf/hakmem: File exists \(another hakprobe pins there' 'and says why'
probe_end
is "$(ls /sys/fs/bpf | grep -v debug)" '' 'what was pinned goes with it'
sees 'by own counters' 'and the screen notices'
type_keys q
sees 'exit 0' 'it ends'
"$hakprobe" -q -d 0.01 -p $a --pin | head -n 1 >"$tmp/second"
is "$(ls /sys/fs/bpf | grep -v debug)" '' 'nor does it stay when nobody reads any more'

screen_open 100x30 "$hakstat" -p $a -s probes -d 0.1
probe "$tmp/killed" -p $a --pin
tell a round
type_keys c
sees 'mremap program 40' 'a hakprobe pins its counts'
kill -KILL "$prober"
wait "$prober" 2>/dev/null
sees 'Nobody counts in the kernel' 'the screen notices that it was killed'
type_keys q
sees 'exit 0' 'it ends'
is "$(ls /sys/fs/bpf/hakmem | xargs)" 'counts lost processes waits' 'what was pinned stays'
run_and_say "$hakstat" -p $a -s probes -n 1 -d 0.1
like "$out" '/sys/fs/bpf/hakmem: the hakprobe that pinned there was killed' 'but nobody takes it for counts'
probe "$tmp/next" -p $a --pin
tell a round
run_and_say "$hakstat" -p $a -s probes -j -n 1 -d 0.1
is "$code,$(jq -c '[.probes[] | select(.call == "mremap") | .whose]' <<<"$out")" '0,["program"]' 'the next hakprobe pins there'
probe_end
is "$(ls /sys/fs/bpf | grep -v debug)" '' 'and takes it away'
mkdir /sys/fs/bpf/hakmem
"$hakprobe" -q -n 1 -d 0.01 -p $a --pin >"$tmp/second" 2>&1
is "$?,$(ls /sys/fs/bpf | grep -v debug)" 1,hakmem 'what a hakprobe has not made is left alone'
like "$(cat "$tmp/second")" 'hakmem: File exists \(no hakprobe pins there; rm -r removes it\)' 'and it says so'
rmdir /sys/fs/bpf/hakmem

"$hakprobe" -q -n 1 -d 0.01 -p $a --pin=/tmp/no-bpf-here >"$tmp/second" 2>&1
is $? 1 'where there is no BPF file system nothing is pinned'
like "$(cat "$tmp/second")" "/tmp/no-bpf-here is in no BPF file system" 'and it says why'
done_testing
