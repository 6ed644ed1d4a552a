# programs_redis.sh: redis-server under the library: every type of value, a snapshot by a forked child,
# a restart from it, lazy freeing by another thread, active memory; the data is what was put in.
. "${HAK_SRC:-.}/tests/tap.sh"
need redis-server redis-server
need redis-benchmark redis-tools

sock=$tmp/redis.sock
cli() { redis-cli -s "$sock" "$@"; }
answers() { [ "$(cli ping)" = PONG ]; }         # not so while it loads
# A line for each key and a digest of its value.
contents() {
    cli keys '*' | sort >"$tmp/keys"
    xargs -n 5000 redis-cli -s "$sock" debug digest-value <"$tmp/keys" | paste "$tmp/keys" -
}
start() {
    in_background env ${1:+LD_PRELOAD="$1"} redis-server --port 0 --unixsocket "$sock" --save '' --dir "$tmp" \
        --io-threads 2 --enable-debug-command yes >>"$tmp/log" 2>&1
    server=$!
    wait_until answers || bail "redis-server does not answer: $(tail -3 "$tmp/log")"
}
start "$lib"
ok 'redis-server is served by libhakmem' grep -q libhakmem "/proc/$server/maps"
redis-benchmark -s "$sock" -q -P 8 -c 20 -n 20000 -r 3000 -d 300 -t set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset \
    >"$tmp/bench" 2>&1
is "$? $(grep -ciE 'error|refused' "$tmp/bench")" '0 0' 'redis-benchmark with ten kinds of request'
is "$(cli eval "for i = 1, 20000 do
    redis.call('set', 's' .. i, string.rep('x', i % 900))
    redis.call('rpush', 'l' .. i % 100, i, string.rep('y', i % 70))
    redis.call('hset', 'h' .. i % 200, i, string.rep('z', i % 120))
    redis.call('zadd', 'z' .. i % 50, i * 7 % 1000, 'm' .. i)
end
for i = 1, 20000, 3 do redis.call('del', 's' .. i) end
for i = 2, 20000, 3 do redis.call('append', 's' .. i, string.rep('w', i % 333)) end
return redis.call('dbsize') > 13000 and 'fine'" 0)" fine 'a script that makes and changes 20,000 values'
is "$(cli strlen s2999) $(cli llen l7) $(cli hlen h7) $(cli zcard z7)" \
    "$((2999 % 900 + 2999 % 333)) 400 100 400" 'values have the sizes that they should have'
is "$(cli save)" OK 'a snapshot'
for i in 1 2 3; do
    cli bgsave >/dev/null
    redis-benchmark -s "$sock" -q -P 8 -n 10000 -r 1000 -t set >/dev/null 2>&1
    wait_until eval 'cli info persistence | grep -q rdb_bgsave_in_progress:0'
done
like "$(cli info persistence)" 'rdb_last_bgsave_status:ok' 'snapshots by forked children, under load'
cli debug reload nosave >/dev/null
like "$(cli debug reload)" OK 'saved and loaded again'
contents >"$tmp/before"
digest=$(cli debug digest)
cli flushall async >/dev/null
is "$(cli dbsize)" 0 'everything freed, by the thread for that'
cli shutdown nosave
wait "$server"
start ''
contents >"$tmp/after"
is "$(cli debug digest)" "$digest" 'redis-server without the library loads the same data from the last snapshot' ||
    diag "$(wc -l "$tmp/before" "$tmp/after"; diff "$tmp/before" "$tmp/after" | head -20; tail -5 "$tmp/log")"
done_testing
