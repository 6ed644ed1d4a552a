# programs_shell.sh: bash, perl, sort, tar, xz, sqlite3 and git under the library, results checked.
. "${HAK_SRC:-.}/tests/programs.sh"
need pgrep procps
need perl perl
need xz xz-utils
need sqlite3 sqlite3
need git git

# ---- bash -----------------------------------------------------------------------------------------

cat >"$tmp/in" <<'END'
declare -A count
for ((i = 0; i < 30000; i++)); do
    word=w$((i * 7919 % 1000))
    count[$word]=$((${count[$word]:-0} + i))
done
for word in "${!count[@]}"; do echo "$word ${count[$word]}"; done | sort | sha256sum
text=
for ((i = 0; i < 3000; i++)); do text+="line $i of a text that grows"$'\n'; done
echo "${#text} ${text//line/LINE}" | md5sum
for i in {1..40}; do echo "$(echo "sub $i" | tr a-z A-Z)"; done
f() { [ "$1" -le 1 ] && echo 1 || echo $(($(f $(($1 - 1))) + $(f $(($1 - 2))))); }
f 9
wait
END
same bash "$tmp/in" bash

# ---- perl -----------------------------------------------------------------------------------------

cat >"$tmp/in" <<'END'
use strict;
my (%h, @a);
for my $i (0 .. 40000) { $h{"key" . ($i * 31 % 5000)} .= chr(65 + $i % 26); push @a, [$i, "x" x ($i % 300)]; }
my $sum = 0;
$sum += length $h{$_} for sort keys %h;
my $text = join ",", map { "$_->[0]:" . length $_->[1] } grep { $_->[0] % 3 == 0 } @a;
$text =~ s/(\d+):(\d+)/$2-$1/g;
print "$sum ", length $text, " ", unpack("%32C*", $text), "\n";
for my $n (1 .. 5) { my $pid = fork; if (!$pid) { my @b = map { "y" x $_ } 1 .. 2000; exit(@b == 2000 ? $n : 0) } waitpid $pid, 0; print $? >> 8, "\n"; }
END
same perl "$tmp/in" perl -

# ---- sort, in several threads and over files --------------------------------------------------------

perl -e 'srand 1; printf "%08x %s\n", rand 2**32, "z" x rand 40 for 1 .. 150000' >"$tmp/lines"
same 'sort --parallel' "$tmp/lines" sort --parallel=4 -S 1M -T "$tmp"
same 'sort in memory' "$tmp/lines" sort --parallel=2 -S 200M -u -k2 -k1,1r

# ---- tar and xz ---------------------------------------------------------------------------------------

mkdir "$tmp/tree"
split -l 3000 "$tmp/lines" "$tmp/tree/part."
cp -r "$HAK_SRC/abi" "$HAK_SRC/lib" "$tmp/tree"
(cd "$tmp" && find tree -type f | LC_ALL=C sort >"$tmp/files")
same tar "$tmp/files" tar -C "$tmp" --no-recursion -T - --sort=name -c
cp "$tmp/out" "$tmp/tree.tar"
same 'xz with two threads' "$tmp/tree.tar" xz -T2 --block-size=1MiB -1 -c
cp "$tmp/out" "$tmp/tree.tar.xz"
same 'xz -d' "$tmp/tree.tar.xz" xz -d -c
mkdir "$tmp/unpacked"
feed "$tmp/tree.tar" tar -C "$tmp/unpacked" -x
is "$served $status" 'yes 0' 'tar -x is served by libhakmem and succeeds'
ok 'what it unpacks is what was packed' diff -r "$tmp/tree" "$tmp/unpacked/tree"

# ---- sqlite3 --------------------------------------------------------------------------------------------

cat >"$tmp/in" <<'END'
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO t SELECT i, printf('%06d-%s', i * 7919 % 60000, hex(zeroblob(i % 50))), i * 0.5 FROM n;
CREATE INDEX tb ON t(b);
UPDATE t SET c = c + length(b) WHERE a % 7 = 0;
DELETE FROM t WHERE a % 11 = 0;
SELECT count(*), sum(length(b)), sum(c), min(b), max(b) FROM t;
SELECT substr(b, 1, 2), count(*), group_concat(a % 10, '') FROM t WHERE a < 2000 GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM t x JOIN t y ON x.b = y.b;
PRAGMA integrity_check;
END
same sqlite3 "$tmp/in" sqlite3 "$tmp/db.in_memory_only?mode=memory" -cmd '.open :memory:'

# ---- git ------------------------------------------------------------------------------------------------

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 HOME=$tmp
export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
repository() {  # DIRECTORY COMMAND-PREFIX…
    local dir=$1 i
    shift
    "$@" git init -q -b main "$dir" && cd "$dir" &&
        "$@" git config user.name tester && "$@" git config user.email tester@example.org || return
    cp -r "$tmp/tree/lib" "$tmp/tree/part.aa" .
    for ((i = 0; i < 6; i++)); do
        echo "change $i" | tee -a part.aa lib/*/*.c >/dev/null
        "$@" git add -A && "$@" git commit -q -m "commit $i" || return
    done
    "$@" git gc -q && "$@" git repack -q -a -d -f --depth=10 --window=5 --threads=2
}
ok 'git init, commit, gc and repack' repository "$tmp/git" preloaded
(repository "$tmp/git_plain") >/dev/null 2>&1 || bail 'git fails without the library'
is "$(git -C "$tmp/git" rev-parse HEAD)" "$(git -C "$tmp/git_plain" rev-parse HEAD)" \
    'the commit is the same as under libc'"'"'s malloc'
is "$(git -C "$tmp/git" fsck --strict --full 2>&1)" '' 'git fsck finds nothing wrong'
is "$(git -C "$tmp/git" count-objects -v | sed -n 's/^\(count\|packs\): //p' | tr '\n' ' ')" '0 1 ' 'all in one pack'
is "$(cd "$tmp/git" && preloaded git -c alias.maps='!grep -c libhakmem /proc/$PPID/maps >/dev/null && echo served' maps)" \
    served 'git is served by libhakmem'
is "$(cd "$tmp/git" && preloaded git log -p --stat | sha256sum)" "$(cd "$tmp/git" && git log -p --stat | sha256sum)" \
    'git log -p says the same'
done_testing
