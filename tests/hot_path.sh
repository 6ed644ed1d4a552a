# hot_path.sh: the budgets stated in lib/front/heap.h, held against the compiled library, what malloc, a touch
# and free cost together in a program, and what each thread adds to a look from outside.
. "$(dirname "$0")/tap.sh"
need objdump binutils
need valgrind valgrind

if [ "$(uname -m)" != x86_64 ]; then
    skip 'instruction budgets' "they are counted for x86-64, this is $(uname -m)"
    done_testing
    exit
fi

# The budgets are those of the library as it is installed: optimised, counters on, no checks.
plain=$HAK_BUILD/tests/plain
mkdir -p "$plain" &&
    (cd "$plain" && { [ -e Makefile ] || "$HAK_SRC/configure" -q --disable-hakstat CFLAGS='-O2 -g'; } &&
        make -s libhakmem.la hakctl/hakctl) >"$tmp/build" 2>&1
ok 'the library builds as it is installed' test -e "$plain/.libs/libhakmem.so" || diag "$(tail -n 5 "$tmp/build")"
lib=$plain/.libs/libhakmem.so

code() { objdump -d --no-show-raw-insn "$lib" | awk -v f="<$1>:" '$2 == f { on = 1; next } on && /^$/ { exit } on'; }

# From the first instruction to the first return: the way that a tiny block takes through L0.
to_ret() { code "$1" | awk '{ n++ } $2 ~ /^ret/ { print n; exit }'; }
for f in malloc free; do
    stated=$(grep -oE "^/\* $f\. Budget, tiny[^:]*: [0-9]+" "$HAK_SRC/lib/front/heap.h" | grep -oE '[0-9]+$')
    like "$stated" '^[0-9]+$' "heap.h states a budget for $f"
    ok "$f keeps to its budget of $stated instructions (it takes $(to_ret $f))" test "$(to_ret $f)" -le "${stated:-0}"
    unlike "$(code $f | sed '/ret/q')" 'call|lock |push|xchg' "$f calls nothing, locks nothing and saves no register on its hot path"
done
# From the target of the jump over L0 to the next return: the way through L1.
way=$(code malloc | tr -d : | awk '!to && ($2 == "jae" || $2 == "jbe") { to = $3 } $1 == to { on = 1 } on && /ret/ { print to, $1; exit }')
way=${way:-0 40}                                       # not found
ok "the way of malloc through L1 lies in one cache line (from and to $way)" \
    test $((16#${way% *} / 64)) -eq $((16#${way#* } / 64))
is "$(code free | grep -A2 -E 'sub[lq]? +\$0x1,(0x[0-9a-f]+)?\(%' | grep -c ret)" 2 'both ways of free count down and return at their own end'
like "$(code dlopen | grep -vE 'nop|endbr')" 'jmp +\*' 'dlopen leaves for the real one by a jump'
unlike "$(code dlopen)" 'call +\*' 'and never calls it'

cat >"$tmp/loop.c" <<'C'
#include <stdlib.h>
int main(int argc, char **argv)
{
    (void)argc;
    for (long i = 0, n = atol(argv[1]); i < n; i++) {
        char *p = malloc(16);
        *(volatile char *)p = 1;
        free(p);
    }
    return 0;
}
C
${CC:-gcc} -O2 -o "$tmp/loop" "$tmp/loop.c"
instructions() {
    LD_PRELOAD=$lib valgrind --tool=callgrind --callgrind-out-file=/dev/null "$tmp/loop" "$1" 2>&1 |
        sed -n 's/.*Collected : //p'
}
first=$(instructions 100000) second=$(instructions 1100000)
ok "malloc, touch and free of 16 bytes take at most 50 instructions, loop and PLT included (they take $(
    awk "BEGIN { print ($second - $first) / 1000000 }"))" test $((second - first)) -le 50000000

# `hakctl stats` is to take less than 10 ms with a thousand threads: at most 22,000 instructions for each, which
# were 107,000 once.  As if nobody had taken its CPU from it, since it would look again then.
cat >"$tmp/undisturbed.c" <<'C'
int getrusage(int who, void *usage);
int getrusage(int who, void *usage)
{
    (void)who, (void)usage;
    return -1;
}
C
${CC:-gcc} -shared -fPIC -o "$tmp/undisturbed.so" "$tmp/undisturbed.c"
begin() {   # THREADS: a process of that many, in $pid
    rm -f "$tmp/pid"
    in_background "$HAK_BUILD/tests/fixture_segment" threads="$1" >"$tmp/pid"
    wait_until test -s "$tmp/pid" || bail "fixture_segment threads=$1 did not start"
    pid=$(cat "$tmp/pid")
}
end() {
    kill -KILL "$pid"
    rm -f "/dev/shm/hakmem.$pid."*
}
look() {    # THREADS: instructions in $took
    begin "$1"
    took=$(LD_PRELOAD=$tmp/undisturbed.so valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$plain/hakctl/hakctl" -p "$pid" stats 2>&1 | sed -n 's/.*Collected : //p')
    end
}
least() { printf '%s\n' "$@" | sort -n | head -1; }
few= many=
for i in 1 2 3; do      # other tests make segments, at which it looks, too
    look 4
    few=$(least $few $took)
    look 64
    many=$(least $many $took)
done
each=$(((many - few) / 60))
ok "a look at the figures takes at most 22,000 instructions for each thread (it takes $each)" \
    test "${few:-0}" -gt 0 -a "$each" -gt 0 -a "$each" -le 22000

# There may be thousands of other processes; with a pid, none is looked at for what it sees.
need strace strace
begin 4
strace -f -o "$tmp/calls" "$plain/hakctl/hakctl" -p "$pid" stats >"$tmp/out"
is "$? $(grep -o '/proc/[0-9]*/\(ns\|root\)' "$tmp/calls" | cut -d/ -f3 | sort -u)" "0 $pid" \
    'hakctl -p looks at what that process alone sees'
strace -f -o "$tmp/calls" "$plain/hakctl/hakctl" ps >"$tmp/out"
ok 'hakctl ps looks at the others, too' grep -q '/proc/[0-9]*/ns' "$tmp/calls"
end
done_testing
