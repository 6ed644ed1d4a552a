# programs_postgres.sh: PostgreSQL under the library: initdb, server and backends, pgbench, and what must
# add up afterwards.
. "${HAK_SRC:-.}/tests/tap.sh"
for bin in /usr/lib/postgresql/*/bin; do
    PATH=$bin:$PATH
done
need initdb postgresql
need pgbench postgresql

# The server refuses to run as root; the library must be where its user can read it.
as_user=()
if [ "$(id -u)" = 0 ]; then
    getent passwd postgres >/dev/null || bail 'needs the user postgres (Debian package postgresql)'
    as_user=(setpriv --reuid postgres --regid postgres --init-groups)
fi
chmod 755 "$tmp"
cp "$lib" "$tmp/libhakmem.so"
mkdir "$tmp/pg"
[ "$(id -u)" != 0 ] || chown postgres: "$tmp/pg"
cd "$tmp/pg" || exit 99
export PGHOST=$tmp/pg PGDATABASE=postgres PGUSER=tester HOME=$tmp/pg
run() { "${as_user[@]}" env LD_PRELOAD="$tmp/libhakmem.so" "$@"; }
sql() { psql -qAtX -c "$1"; }

ok 'initdb' run initdb -D "$tmp/pg/data" -A trust -U tester -N --locale=C -E UTF8
in_background "${as_user[@]}" env LD_PRELOAD="$tmp/libhakmem.so" postgres -D "$tmp/pg/data" \
    -c listen_addresses= -c unix_socket_directories="$tmp/pg" -c fsync=off -c shared_buffers=16MB \
    >"$tmp/log" 2>&1
postmaster=$!
wait_until sql 'select 1' || bail "the server does not start: $(tail -3 "$tmp/log")"
ok 'the server is served by libhakmem' grep -q libhakmem "/proc/$postmaster/maps"
is "$(sql "select pg_read_file('/proc/self/maps') like '%libhakmem%'")" t 'so is a backend'

ok 'pgbench -i' run pgbench -i -q -s 1
run pgbench -n -c 4 -j 2 -t 250 >"$tmp/bench" 2>&1
is $? 0 'pgbench with four clients in two threads'
like "$(cat "$tmp/bench")" 'transactions actually processed: 1000/1000' 'every transaction was processed'
unlike "$(cat "$tmp/bench")" 'failed transactions: [1-9]' 'none failed'
is "$(sql 'select count(*) from pgbench_history')" 1000 'and left its row'
is "$(sql 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
                  (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history),
                  (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)')" \
    't|t|t' 'accounts, tellers, branches and history add up'
is "$(sql "create table t as select i, md5(i::text) m, repeat('x', i % 300) r from generate_series(1, 50000) i;
           create index on t(m); analyze t;
           select count(*), count(distinct m), sum(length(r)), md5(string_agg(m, '' order by m)) from t")" \
    "50000|50000|$((166 * 44850 + 20100))|$(for ((i = 1; i <= 50000; i++)); do echo "$i"; done |
        perl -MDigest::MD5=md5_hex -lne 'push @m, md5_hex $_; END { print md5_hex join "", sort @m }')" \
    'a table of 50,000 rows, sorted and summed up'
is "$(sql 'select count(*) from t a join t b using (m) where a.i % 2 = 0')" 25000 'joined with itself'
kill -INT "$postmaster"
wait "$postmaster"
is $? 0 'the server shuts down'
unlike "$(cat "$tmp/log")" 'terminated by signal|PANIC|crash|hakmem: ' 'nothing in its log speaks of a crash'
done_testing
