# probes_scope.sh: whom hakprobe counts; what it says where it can't; its formats.
. "${HAK_SRC:-.}/tests/alone.sh"
. "${HAK_SRC:-.}/tests/tap.sh"
need jq jq
need setpriv util-linux
need unshare util-linux
need promtool prometheus
. "$HAK_SRC/tests/caller.sh"

# ---- all of them, some of them --------------------------------------------------------------------

caller first
wait_until stopped $first
go first
probe "$tmp/all" -a
caller later
wait_until stopped $later
in_background "$HAK_BUILD/tests/calls" <<<quit >/dev/null      # not under libhakmem
plain=$!
go later
tell first round
tell later large
tell later round
wait $plain
probe_end
is "$(counted "$tmp/all" $first mmap program calls)" 160 '-a: a process that was there'
is "$(counted "$tmp/all" $later mmap allocator 'calls > 0')" true 'and one that came, from its first marked call on'
is "$(counted "$tmp/all" $later mremap program calls)" 80 'with all that it did'
# Of other tests' processes, which are in no namespace of ours, the pids are null.
is "$(jq -c '[.processes[].pid | values] | sort' "$tmp/all")" "$(printf '%s\n' $first $later | sort -n | jq -sc .)" 'and no others'
dismiss later
probe "$tmp/one" -c calls
tell first round
probe_end
is "$(counted "$tmp/one" $first mremap program calls)" 40 '-c: the process of that name'
probe "$tmp/any" -p $$
tell first round
probe_end
is "$(jq -c '[.processes[].comm]' "$tmp/any")" '["bash"]' '-p: a process that is not under libhakmem'
in_background sleep 1000
wait_until grep -qx sleep /proc/$!/comm
wait_until grep -q '^State:.*sleeping' /proc/$!/status
is "$("$hakprobe" -q -j -d 0.1 -n 1 -p $! | jq -c '.processes[] | [.comm, .calls]')" '["sleep",[]]' \
    '-p: one that has done nothing yet has its name'

"$hakprobe" -q -j -d 86400 -- bash -c '"$0"/tests/calls >/dev/null; exit 7' "$HAK_BUILD" <<<quit >"$tmp/command"
is $? 7 'a command: its exit status'
is "$(jq -c '.processes[0] | [.comm, .ended]' "$tmp/command")" '["bash",true]' 'and its counts'
"$hakprobe" -- /no/such/program >"$tmp/out" 2>"$tmp/err"
is "$?|$(cat "$tmp/err" "$tmp/out")" '127|hakprobe: /no/such/program: No such file or directory' \
    'a command that there is not: it is named, and that is all'
"$hakprobe" -- /etc/passwd >"$tmp/out" 2>"$tmp/err"
is "$?|$(cat "$tmp/err" "$tmp/out")" '126|hakprobe: /etc/passwd: Permission denied' 'one that can not be run'
"$hakprobe" -j -- /no/such/program >"$tmp/out" 2>"$tmp/err"
is "$?|$(cat "$tmp/err" "$tmp/out")" '127|{"error":{"code":127,"message":"/no/such/program: No such file or directory","pid":null}}' \
    'as JSON'

# ---- two processes of one number, and a namespace ---------------------------------------------------

mkfifo "$tmp/inner"
exec {to_inner}<>"$tmp/inner"
unshare --pid --fork --kill-child --mount-proc env LD_PRELOAD="$lib" "$HAK_BUILD/tests/calls" \
    <"$tmp/inner" >"$tmp/inner.out" &
tap_pids+=($!)
wait_until grep -q ok "$tmp/inner.out"
inner=$(pgrep -P $!)
probe "$tmp/namespace" -p "$inner"
echo round >&$to_inner
wait_until eval "[ \$(wc -l <'$tmp/inner.out') = 2 ]"
probe_end
is "$(jq -c '.processes[0] | [.pid, .ns_pid]' "$tmp/namespace")" "[$inner,1]" 'a process in another pid namespace, by our number'
is "$(counted "$tmp/namespace" "$inner" mmap program calls)" 160 'is counted'
echo quit >&$to_inner

# ---- a cgroup ---------------------------------------------------------------------------------------

hierarchy=/mnt                              # of this test's own mount namespace
if mount -t cgroup2 none "$hierarchy" 2>"$tmp/err" && mkdir -p "$hierarchy/hakprobe-$$/below"; then
    caller inside
    wait_until stopped $inside
    echo $inside >"$hierarchy/hakprobe-$$/below/cgroup.procs"
    probe "$tmp/group" --cgroup "$hierarchy/hakprobe-$$"
    go inside
    tell first round
    tell inside round
    probe_end
    is "$(jq -c '[.processes[].comm]' "$tmp/group")" '["calls"]' '--cgroup: one process, which is in a cgroup below it'
    is "$(counted "$tmp/group" $inside mremap program calls)" 80 'with all that it did'
    dismiss inside
    wait_until rmdir "$hierarchy/hakprobe-$$/below" "$hierarchy/hakprobe-$$"
else
    skip '--cgroup' "$(cat "$tmp/err")"
fi

# ---- room --------------------------------------------------------------------------------------------

tell first hold 4
probe "$tmp/few" -p $first --in-flight 1
tell first contend 4
tell first hold 4
tell first round
probe_end
ok '--in-flight 1: when threads are in calls together, some are lost' test "$(jq '.lost["in-flight"]' "$tmp/few")" -gt 0
probe "$tmp/futexes" -p $first --addresses 1 -k futex
tell first round
tell first contend 8
tell first hold 8
tell first contend 8
probe_end
ok '--addresses 1: waits at others are lost' test "$(jq '.lost.waits' "$tmp/futexes")" -gt 0
probe "$tmp/processes" -a --processes 1
caller third
wait_until stopped $third
go third
tell first round
probe_end
ok '--processes 1: calls of others are lost' test "$(jq '.lost.process' "$tmp/processes")" -gt 0
is "$(counted "$tmp/processes" $first mmap program calls)" 160 'those of the first are not'
"$hakprobe" -a --processes 1 >"$tmp/out" 2>&1
is $? 1 'more processes than there is room for, from the start'
like "$(cat "$tmp/out")" 'hakprobe: no room for 2 processes \(--processes\)' 'are refused'
dismiss third
in_background "$hakprobe" -d 86400 -a --processes 1 >"$tmp/text" 2>"$tmp/text.err"
prober=$!
wait_until grep -q counting "$tmp/text.err"
caller fourth
wait_until stopped $fourth
go fourth
probe_end
like "$(cat "$tmp/text")" 'LOST: [0-9]+ not counted \(process\)' 'text says so too'

# ---- formats -----------------------------------------------------------------------------------------

in_background "$hakprobe" --openmetrics -d 86400 -p $first >"$tmp/metrics" 2>"$tmp/metrics.err"
prober=$!
wait_until grep -q counting "$tmp/metrics.err"
tell first round
probe_end
is "$(tail -n 1 "$tmp/metrics")" '# EOF' 'OpenMetrics, to its end'
is "$(grep -oE 'call_seconds_count\{.*call="mremap",whose="program"\} .*' "$tmp/metrics" | awk '{ print $NF }')" 40 'with counts'
is "$(grep 'call="mremap",whose="program",le="+Inf"' "$tmp/metrics" | awk '{ print $NF }')" 40 'that are the last bucket'
ok 'Prometheus can read it' promtool check metrics <<<"$(grep -v '^# \(UNIT\|EOF\)' "$tmp/metrics" |
    sed -E 's/^(# (TYPE|HELP) hakprobe_(call_errors|call_bytes|call_unfinished|lock_waits|lost)) /\1_total /')"

# ---- where it can't ---------------------------------------------------------------------------------

install -m 755 "$hakprobe" "$tmp/hakprobe"
chmod 755 "$tmp"
refused() {  # EXIT-CODE TEXT DESCRIPTION COMMAND…
    local code=$1 text=$2 what=$3
    shift 3
    "$@" >"$tmp/out" 2>&1
    is $? "$code" "$what: exit code $code"
    like "$(cat "$tmp/out")" "$text" "$what: why"
}
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
refused 4 'hakprobe: loading BPF programs needs CAP_BPF and CAP_PERFMON; root has both' 'an unprivileged user' \
    $nobody "$tmp/hakprobe" -- true
refused 4 'BPF programs   no   loading BPF programs needs CAP_BPF and CAP_PERFMON' 'an unprivileged user, --check' \
    $nobody "$tmp/hakprobe" --check
is "$(sed -n 1p "$tmp/out")" "kernel types   yes  BTF: the running kernel's" 'which says what does work'
refused 4 '"code":4,"message":"loading BPF programs needs' 'an unprivileged user, -j' $nobody "$tmp/hakprobe" -j -- true
refused 4 'needs CAP_PERFMON; root' 'root without CAP_PERFMON' \
    setpriv --bounding-set=-sys_admin,-perfmon "$hakprobe" -- true
refused 1 'hakprobe: no BTF of the running kernel' 'a kernel without BTF' \
    unshare -m bash -c 'mount -t tmpfs none /sys/kernel/btf && exec "$0" -- true' "$hakprobe"
cat /sys/kernel/btf/vmlinux >"$tmp/btf"
refused 0 'mmap +program' 'the same, with --btf' \
    unshare -m bash -c 'mount -t tmpfs none /sys/kernel/btf && exec "$0" --btf "$1" -- true' "$hakprobe" "$tmp/btf"
refused 0 'mmap +program' 'without tracefs' \
    unshare -m bash -c 'umount /sys/kernel/tracing 2>/dev/null; [ ! -e /sys/kernel/tracing/events ] && exec "$0" -- true' "$hakprobe"
for ((files = 8; files < 64; files++)); do      # as many as the programs need, and not the events too
    (ulimit -n $files; "$hakprobe" -- true) 2>&1 | grep -q '^hakprobe: no page faults: software' && break
done
refused 0 'hakprobe: no page faults: software event page-faults: Too many open files' 'without files for page faults' \
    bash -c 'ulimit -n $1; exec "$0" -- true' "$hakprobe" $files
like "$(cat "$tmp/out")" 'mmap +program' 'it counts system calls all the same'
refused 3 'hakprobe: pid 4194303: no such process' 'a pid that there is not' "$hakprobe" -p 4194303
refused 2 "hakprobe: -k: 'read' is not one of" 'a call that it does not know' "$hakprobe" -k read
refused 2 'one of -p, -c or -a' 'two targets' "$hakprobe" -p 1 -a
refused 2 'unrecognized option' 'an unknown option' "$hakprobe" --no-such
refused 2 "hakprobe: -d: '0' is not" 'no time at all' "$hakprobe" -d 0
refused 3 'hakprobe: cgroup /no/such: No such file' 'a cgroup that there is not' "$hakprobe" --cgroup /no/such
refused 2 'hakprobe: /proc is no directory of cgroup 2' 'a directory that is no cgroup' "$hakprobe" --cgroup /proc
refused 1 'hakprobe: pid [0-9]+: standard output: No space left' 'a full disk' \
    bash -c '"$0" -q -n 1 -d 0.01 -p $$ >/dev/full' "$hakprobe"

ok 'hakprobe is built without libbpf as well' ${CC:-cc} -std=gnu11 -D_GNU_SOURCE= -include "$HAK_BUILD/config.h" \
    -I"$HAK_SRC" -Wall -Wextra -Werror -o "$tmp/absent" "$HAK_SRC"/probes/{hakprobe,print,reading,absent}.c \
    "$HAK_SRC"/shm/*.c $(pkg-config --cflags --libs jansson) -lm
refused 1 'hakprobe: built without eBPF probes \(./configure --enable-probes=yes says what they need\)' \
    'built without libbpf' "$tmp/absent" -- true
done_testing
