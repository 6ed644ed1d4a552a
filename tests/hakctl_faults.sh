# hakctl_faults.sh: a system call of hakctl's own fails, or somebody takes the segment away at the worst
# moment: the right message and exit code each time, and nothing has changed.  strace makes them fail.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
need strace strace

knob=tiny.inline_sll
in_background "$HAK_BUILD/tests/fixture_segment" busy=1 >"$tmp/pid"
wait_until test -s "$tmp/pid" || bail 'fixture_segment did not start'
pid=$(cat "$tmp/pid")
file=$(echo /dev/shm/hakmem.*)

# faulty CODE MESSAGE FAULT [PATH...]: what a set (or $verb) says when the calls that name one of the paths are
# served so.
verb=set change=$knob=1
faulty() {
    local code=$1 message=$2 fault=$3 path paths=()
    shift 3
    for path; do
        paths+=(-P "$path")
    done
    strace -qq -o /dev/null "${paths[@]}" -e inject="$fault" "$hakctl" $verb -p "$pid" $change >"$tmp/out" 2>"$tmp/err"
    is "$?|$(cat "$tmp/out" "$tmp/err")" "$code|hakctl: pid $pid: $message" "$fault: $message"
    is "$("$hakctl" get -n -p "$pid" $knob)" 0 'nothing has changed'
}
if ! strace -qq -o /dev/null true 2>"$tmp/err"; then
    skip 'faults' "processes can't be traced: $(cat "$tmp/err")"
    done_testing
    exit
fi

# hakctl opens the segment twice to see what it is, and then to work with it, for writing or else for reading.
in_file=("$file" "${file##*/}")
faulty 3 'its segment is gone' openat:error=ENOENT:when=3+ "${in_file[@]}"
faulty 1 "can't open its segment: Too many open files" openat:error=EMFILE:when=3+ "${in_file[@]}"
faulty 1 "can't stat its segment: Input/output error" newfstatat:error=EIO:when=7 "${in_file[@]}"
faulty 3 'its segment was replaced' newfstatat:error=EIO:when=8 "${in_file[@]}"
faulty 1 "can't map its segment: Cannot allocate memory" mmap:error=ENOMEM:when=1 "${in_file[@]}"
faulty 1 "can't map its control page: Cannot allocate memory; nothing changed" mmap:error=ENOMEM:when=2 \
    "${in_file[@]}"
faulty 3 'its /dev/shm is gone' openat:error=ENOENT:when=5 /dev/shm

# Between its two looks at the values in force a set asks for its uid: that is when they change, each time.
cat >"$tmp/restless.c" <<'E'
#include "tests/fixture.h"
#include <sys/syscall.h>
uid_t geteuid(void)
{
    static struct fixture *f;
    if (!f)
        f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED, open(getenv("SEGMENT"), O_RDWR | O_CLOEXEC), 0);
    f->state.state.seq += 2;
    return (uid_t)syscall(SYS_geteuid);
}
E
ok 'a hand that changes the values compiles' ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -I"$HAK_SRC" -shared -fPIC \
    -o "$tmp/restless.so" "$tmp/restless.c"
SEGMENT=$file LD_PRELOAD=$tmp/restless.so "$hakctl" set -p "$pid" $knob=1 >"$tmp/out" 2>"$tmp/err"
is "$?|$(cat "$tmp/out" "$tmp/err")" "1|hakctl: pid $pid: its values change all the time; nothing changed" \
    'the values in force change under every try'
is "$("$hakctl" get -n -p "$pid" $knob)" 0 'nothing has changed'

verb='trial --period 0.1 --rounds 2'
change=$knob=0,1
faulty 3 "its CPU time can't be read: No such process; nothing changed" clock_getres:error=EINVAL
is "$("$hakctl" -j ps -p "$pid" | grep -o '"generation":[0-9]*')" '"generation":0' 'no generation was made'
done_testing
