# demo.sh: what ./dev demo shows is true, and it leaves nothing behind.
. "$(dirname "$0")/tap.sh"
need redis-server redis-server
need redis-benchmark redis-tools

mkdir "$tmp/tmp"
ls /dev/shm >"$tmp/shm"                    # of a dead process, perhaps one that had the same number
TMPDIR=$tmp/tmp "$HAK_SRC/docs/demo.sh" >"$tmp/out" 2>"$tmp/err" </dev/null
is $? 0 'it ends well, without a terminal' || diag "$(cat "$tmp/out" "$tmp/err")"
is "$(cat "$tmp/err")" '' 'and says nothing on standard error'

# Share of TinyHeapV2 in the three samples: on, off, on.
shares=($(awk '/^    TinyHeapV2/ { print $2 * 10 }' "$tmp/out"))
is ${#shares[@]} 3 'it takes three samples'
ok 'with the default mask TinyHeapV2 serves most calls' test "${shares[0]:-0}" -gt 500
is "${shares[1]-}" 0 'with mask 0x0 it serves none'
ok 'with the mask back it serves most calls again' test "${shares[2]:-0}" -gt 500
is "$(grep -c 'applied by 1/1 threads, 0 idle)$' "$tmp/out")" 2 'redis-server acknowledged both changes'
is "$(awk '/^LAW/ { on = 1; next } on && NF { print $2 } on && !NF { exit }' "$tmp/out" | sort -u)" \
    holds 'every law holds'

pid=$(sed -nE 's/^\$ hakctl ps -p ([0-9]+)$/\1/p' "$tmp/out")
ok 'redis-server is gone' test ! -e "/proc/${pid:-self}"
is "$(ls -A "$tmp/tmp" /dev/shm | grep "hakmem-demo\|hakmem\.${pid:-x}\." | grep -vxFf "$tmp/shm")" '' \
    'and so are its files and its segment'

# Without redis, a program of bench/.
make -s -C "$HAK_BUILD" bench/random_mixed || bail 'bench/random_mixed does not build'
mkdir "$tmp/bin"
for program in awk bash cat dirname env grep mktemp rm sed sleep tail; do
    ln -s "$(command -v $program)" "$tmp/bin"
done
PATH=$tmp/bin TMPDIR=$tmp/tmp "$HAK_SRC/docs/demo.sh" >"$tmp/out" 2>&1 </dev/null
is $? 0 'without redis it ends well, too' || diag "$(cat "$tmp/out")"
like "$(cat "$tmp/out")" 'No redis-server here' 'it says what it shows instead'
is "$(grep -c 'applied by 1/1 threads, 0 idle)$' "$tmp/out")" 2 'which acknowledged both changes'
done_testing
