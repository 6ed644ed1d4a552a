# bench.sh: the benchmark driver: its table of rows, the proof of which allocator served a run,
# resuming, and its arithmetic.
. "$(dirname "$0")/tap.sh"
need python3 python3
cd "$HAK_SRC/bench" || bail "no $HAK_SRC/bench"
bench() { ./run --build "$tmp/build" --quiet "$@" 2>&1; }

mkdir -p "$tmp/build/bench"
for program in launch startup fixed_size; do
    ok "$program compiles" ${CC:-cc} -O2 -o "$tmp/build/bench/$program" $program.c
done
ok 'floor compiles' ${CC:-cc} -O2 -fno-builtin -fPIC -shared -o "$tmp/build/bench/floor.so" floor.c

# The table against the programs.
programs=$(ls ./*.c | sed 's|^\./||; s|\.c$||' | grep -vxE 'floor|launch|knob_latency' | sort)
is "$(./run --list | awk '$2 != "real" { print $2 }' | sort -u)" "$programs" \
    'every program is in rows.conf, and nothing else'
is "$(./run --list | awk '{ print $1 }' | sort | uniq -d)" '' 'no row is there twice'
is "$(./run --list --quick 'fixed-16-*' | awk '{ print $1 }' | xargs)" \
    'fixed-16-1 fixed-16-128 fixed-16-10000' '--quick and globs select'

# A run: two rows, three allocators, two rounds.
out=$(bench hello fixed-8-1 --alloc "hakmem=$lib,glibc,floor" --rounds 2 --out "$tmp/out")
is $? 0 'a run succeeds'
like "$out" 'fixed-8-1 +glibc [0-9.]+ +[0-9.]+ +1.00 +[0-9.]+' 'the only peer is the best one'
like "$out" 'hello, peak resident set, KiB: hakmem [0-9]+, glibc [0-9]+, floor [0-9]+' 'hello is there'
is "$(wc -l <"$tmp/out/runs.jsonl")" 12 'every row under every allocator in every round'
is "$(cut -d, -f1-3 "$tmp/out/results.csv" | tail -n +2 | xargs)" \
    'fixed-8-1,hakmem,2 fixed-8-1,glibc,2 fixed-8-1,floor,2 hello,hakmem,2 hello,glibc,2 hello,floor,2' \
    'results.csv has a line for each'

# A real program runs three times in a round.
out=$(bench python --alloc "hakmem=$lib,glibc" --rounds 1 --out "$tmp/real")
is "$? $(grep -c '"figures"' "$tmp/real/runs.jsonl")" '0 6' 'a row of a real program' || diag "$out"
is "$(python3 -c 'import json, sys
for line in sys.stdin: print(*[json.loads(line)[key] for key in ("row", "allocator", "round")])' <"$tmp/real/runs.jsonl" | sort | xargs)" \
    'python glibc 0 python glibc 1 python glibc 2 python hakmem 0 python hakmem 1 python hakmem 2' \
    'a real program is run three times in a round'

# Resuming: a round more adds a round; another library is refused.
head -n 10 "$tmp/out/runs.jsonl" >"$tmp/some" && mv "$tmp/some" "$tmp/out/runs.jsonl"
cp "$tmp/out/runs.jsonl" "$tmp/before"
bench hello fixed-8-1 --alloc "hakmem=$lib,glibc,floor" --rounds 2 --out "$tmp/out" >/dev/null
is "$(wc -l <"$tmp/out/runs.jsonl")" 12 'started again, it does what was not done'
is "$(head -n 10 "$tmp/out/runs.jsonl" | cmp - "$tmp/before" 2>&1)" '' 'and nothing twice'
is "$(bench hello --alloc glibc --out "$tmp/out")" \
    "bench: $tmp/out was made with other allocators; give another --out" \
    'results of other allocators are not mixed'

# What serves a run is proved: a library without malloc, and one that is not preloaded at all.
libm=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p)
libm=$(awk '$1 == "libm.so.6" { print $NF; exit }' <<<"$libm")
out=$(bench fixed-8-1 --alloc "fake=$libm,glibc" --rounds 1 --out "$tmp/fake")
is $? 1 'a run that another allocator served is an error'
like "$out" "fixed-8-1 under fake: $tmp/build/bench/fixed_size under fake: malloc is bound to [^ ]*libc.so.6" \
    'it says which one did'
like "$out" 'fixed-8-1 +glibc [0-9.]+ +- +1.00' 'its cell stays empty'

is "$(bench nosuch)" 'bench: no row is named nosuch' 'an unknown row'
is "$(bench --alloc nosuch)" 'bench: nosuch: unknown allocator; write nosuch=PATH' 'an unknown allocator'
is "$(bench --alloc x=/nosuch.so)" 'bench: x: /nosuch.so does not exist' 'a missing library'

# The programs of the system allocate from what is measured, not from a heap of their own.
need perl perl
need sqlite3 sqlite3
looked_at=
while read -r name command; do
    looked_at+="$name "
    calls=$(env HAKMEM_TINY_HEAP_V2_STATS=1 LD_PRELOAD="$lib" bash -c "exec env $command" 2>&1 >/dev/null </dev/null |
        awk '/^(C[0-7]|mid|large) /{ calls += $2 } END { print calls + 0 }')
    ok "$name allocates again and again ($calls)" test "$calls" -gt 300000
done < <(sed -nE '/^(python|perl|sqlite) /s/^([a-z]+).*!/\1 /p' rows.conf | sed "s|{bench}|$PWD|")
is "$looked_at" 'python perl sqlite ' 'each of them has been asked'

# launch: the child's exit status, its CPUs, its environment, what was mapped.
launch() { "$tmp/build/bench/launch" 3 "$@" 3>"$tmp/report" >"$tmp/stdout"; cat "$tmp/report"; }
like "$(launch 0 A=b -- sh -c 'exit 7')" '"exit": 7, ' 'launch: exit status'
like "$(launch 0 A=b -- sh -c 'kill -9 $$')" '"exit": 137, ' 'launch: killed by a signal'
launch 0 A=b -- sh -c 'echo $A; taskset -pc $$' >/dev/null
is "$(sed 's/.*: //' "$tmp/stdout" | xargs)" 'b 0' 'launch: environment and CPU'
like "$(launch 0 "LD_PRELOAD=$lib" -- "$tmp/build/bench/startup" 0)" "\"$(readlink -f "$lib")\"" \
    'launch: the objects mapped at the end'

# The arithmetic, on made-up runs.
is "$(python3 -B - <<'END'
import io
from driver import report
from driver.rows import parse

def run(row, allocator, seconds, **more):
    figures = {"seconds": seconds, "cpu": 1.0, "peak_kib": 20480, "faults": 1}
    return {"row": row, "allocator": allocator, "figures": figures, **more}

rows = [parse("a full 1 fixed_size 1"), parse("b full 1 fixed_size 2")]
runs = [run("a", "hakmem", s) for s in (9.0, 1.0, 2.0)] + [run("a", "glibc", 4.0), run("a", "jemalloc", 8.0)]
runs += [run("b", "hakmem", 8.0), run("b", "jemalloc", 4.0)] + [run("b", "glibc", 1.0, wrong="x")]
def rounds(row, allocator, *seconds):
    return [run(row, allocator, s, round=n) for n, s in enumerate(seconds)]
summary = report.summarise(runs, "median")
table = report.compare(summary, rows, ["hakmem", "glibc"], "time")
for row, best, ratios in table:
    print(row.name, best, ratios)
print(report.means(table, ["hakmem", "glibc"]))
print(report.spread([1.0, 2.0, 3.0, 4.0, 5.0]))
# A machine that is four times as slow in some rounds, of which glibc has one more that was disturbed.
runs = rounds("a", "hakmem", 4.0, 1.0, 4.0, 4.0, 9.0) + rounds("a", "glibc", 16.0, 4.0, 4.0, 16.0)
for stat in "paired", "median", "min":
    cells = report.summarise(runs, stat)["a"]
    print(stat, *(f"{cells[a]['seconds']['value']:.3f}" for a in ("hakmem", "glibc")), int(cells["glibc"]["peak_kib"]["value"]))
alone = report.summarise(rounds("a", "hakmem", 3.0, 1.0, 2.0), "paired")["a"]["hakmem"]["seconds"]
print(alone["value"], alone["n"])
END
)" "a (4.0, 'glibc') {'hakmem': 0.5, 'glibc': 1.0}
b (4.0, 'jemalloc') {'hakmem': 2.0, 'glibc': None}
{'hakmem': 1.0, 'glibc': 1.0}
0.6666666666666666
paired 3.000 12.000 20480
median 4.000 10.000 20480
min 1.000 4.000 20480
2.0 3" 'medians, the best peer that was right, ratios, means, spread'
done_testing
