# environment.sh: where the segment can't be made, and where memory is scarce, the program runs on:
# right results, nothing printed, no signal.
. "${HAK_SRC:-.}/tests/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need unshare util-linux
need jq jq
need perl perl
need strace strace
work=$HAK_BUILD/tests/work

# What the program says, on both streams, and how it ends.
run() { "$@" 2>&1; echo "exit $?"; }
fine=$'done\nexit 0'

is "$(run preloaded "$work")" "$fine" 'an ordinary program'

# ---- /dev/shm: full, too small, read-only, missing, without inodes -------------------------------

mounts=(unshare -m)
[ "$(id -u)" = 0 ] || mounts=(unshare -rm)
# in_dev_shm MOUNT-OPTIONS COMMAND…: with a /dev/shm of its own.
in_dev_shm() { "${mounts[@]}" bash -c 'mount -t tmpfs -o "$1" none /dev/shm && shift && exec "$@"' - "$@"; }

if said=$(in_dev_shm size=1m true 2>&1); then
    small() { in_dev_shm "size=$1,mode=1777" env LD_PRELOAD="$lib" "$work"; }
    for size in 4k 16k 64k 100k 128k 160k 200k 256k 300k 400k 512k 1m; do
        is "$(run small "$size")" "$fine" "a /dev/shm of $size"
    done
    full() {
        in_dev_shm size=1m,mode=1777 bash -c 'cat /dev/zero 2>/dev/null >/dev/shm/fill
                                              LD_PRELOAD=$1 exec "$2"' - "$lib" "$work"
    }
    is "$(run full)" "$fine" 'a full /dev/shm'
    is "$(run in_dev_shm ro env LD_PRELOAD="$lib" "$work")" "$fine" 'a read-only one'
    is "$(run in_dev_shm nr_inodes=1 env LD_PRELOAD="$lib" "$work")" "$fine" 'one without inodes'
    missing() { "${mounts[@]}" bash -c 'mount -t tmpfs none /dev && LD_PRELOAD=$1 exec "$2"' - "$lib" "$work"; }
    is "$(run missing)" "$fine" 'none at all'
    is "$(HAKMEM_VERBOSE=1 run full | wc -l)" 3 'only with HAKMEM_VERBOSE=1 a line says why'

    # Threads are born together, and some of them get no slot there: all count at exit.
    if [ "${HAK_STATS-}" = yes ]; then
        births() {
            in_dev_shm size=1m,mode=1777 bash -c 'head -c "$1" /dev/zero >/dev/shm/fill
                                                  HAKMEM_TINY_HEAP_V2_STATS=1 LD_PRELOAD=$2 exec "$3" births 8 1000' \
                - "$1" "$lib" "$work" 2>&1 | awk '$1 == "C4" { print $2 }'
        }
        for kib in {700..940..12}; do births "${kib}k"; done >"$tmp/births"
        is "$(uniq -c "$tmp/births" | xargs)" '21 8000' 'what threads do that get no slot is counted at exit, in each of 21 runs'
    fi

    # It fills up while the process runs: what has no room is not counted, and that is said.
    cat >"$tmp/enter" <<END
mount -t tmpfs -o size=2m,mode=1777 none /dev/shm
exec env LD_PRELOAD=$lib $HAK_BUILD/tests/puppet
END
    coproc PUPPET { exec "${mounts[@]}" bash "$tmp/enter" 2>"$tmp/err"; }
    puppet=$PUPPET_PID
    tap_pids+=("$puppet")
    exec {to_puppet}>&"${PUPPET[1]}" {from_puppet}<&"${PUPPET[0]}"
    read -r answer <&"$from_puppet"
    head -c 4m /dev/zero >"/proc/$puppet/root/dev/shm/fill" 2>/dev/null
    order threads 60
    for ((i = 1; i <= 60; i++)); do
        order alloc "$i" 100 10
        order free "$i" 10
    done
    if [ "${HAK_STATS-}" = yes ]; then
        stats "$tmp/json"
        is "$(jq .exact "$tmp/json")" false 'no room for more threads'"'"' counters: exact is false'
        ok 'and threads_uncounted says how many' \
            test "$(jq .counters.threads_uncounted "$tmp/json")" -ge 1
    fi
    is "$(cat "$tmp/err")" '' 'and nothing is printed'
    puppet_end
else
    skip 'a /dev/shm that is full, read-only or missing' "mount: $said"
fi

# ---- limits --------------------------------------------------------------------------------------

is "$(ulimit -f 0; run preloaded "$work")" "$fine" 'RLIMIT_FSIZE=0, which kills who makes a file longer'
is "$(ulimit -f 16; run preloaded "$work")" "$fine" 'RLIMIT_FSIZE=16 KiB'
is "$(ulimit -v 524288; run preloaded "$work")" "$fine" 'RLIMIT_AS=512 MiB'
is "$(ulimit -v 524288; run preloaded "$work" fill)" "$fine" 'and memory used up, five sizes in turn, each twice'
is "$(ulimit -l 0; run preloaded "$work")" "$fine" 'RLIMIT_MEMLOCK=0'
is "$(run preloaded prlimit --nofile=4 "$work")" "$fine" 'RLIMIT_NOFILE=4: one descriptor to be had'

# ---- system calls that fail ------------------------------------------------------------------------

cat >"$tmp/grow.pl" <<'END'
my ($s, @a) = ("");
for my $i (1 .. 60) {
    $s .= "x" x 300000;
    push @a, "y" x (100000 * ($i % 40));
    shift @a if @a > 5;
}
print length($s), " ", unpack("%32C*", $s), " ", scalar(@a), "\n";
END
if said=$(strace -o "$tmp/strace" true 2>&1); then
    # munmap: as at the limit of mappings (jemalloc #1328)
    for fault in munmap:error=ENOMEM mremap:error=ENOMEM madvise:error=EINTR madvise:error=EINVAL \
                 flock:error=EINTR:when=1..3 ftruncate:error=EINTR; do
        is "$(run strace -f -qq -o "$tmp/strace" -e inject=$fault env LD_PRELOAD="$lib" perl "$tmp/grow.pl")" \
            $'18000000 2160000000 5\nexit 0' "$fault, $(grep -c INJECTED "$tmp/strace") times"
    done
else
    skip 'system calls that fail' "strace: $said"
fi

# ---- descriptors ----------------------------------------------------------------------------------

preloaded "$work" fds "$tmp/fds" 0<&- 1>&- 2>&-
is "$(cat "$tmp/fds")" '0 1 2' 'closed standard descriptors stay free for the program'
puppet_start
is "$(ls -l "/proc/$puppet/fd" | grep -c /dev/shm)" 0 'the segment holds no descriptor'

# ---- HAKMEM_EXPORT=0 ------------------------------------------------------------------------------

ok 'an ordinary process has a segment' compgen -G "/dev/shm/hakmem.$puppet.*"
puppet_end
ok 'whose name goes when it exits' test -z "$(compgen -G "/dev/shm/hakmem.$puppet.*")"
puppet_start HAKMEM_EXPORT=0
ok 'HAKMEM_EXPORT=0: none' test -z "$(compgen -G "/dev/shm/hakmem.$puppet.*")"
order pairs 0 64 10000
"$hakctl" stats -p "$puppet" >"$tmp/out" 2>&1
is $? 3 'hakctl stats: exit code 3'
is "$(cat "$tmp/out")" "hakctl: pid $puppet: under libhakmem, but without a segment: HAKMEM_EXPORT is 0, or HAKMEM_VERBOSE=1 says why at its start" \
    'and why it is not to be seen'
puppet_end

# ---- hugepages: for no SuperSlab before the heap has so many of them ---------------------------------

huge_kib() { awk '/^Size:/ { kib = $2 } /^VmFlags:.* hg( |$)/ { sum += kib } END { print sum + 0 }' "/proc/$puppet/smaps"; }
superslabs() { jq .counters.superslabs_created "$tmp/json"; }
if [ -e /sys/kernel/mm/transparent_hugepage/enabled ] && [ "${HAK_STATS-}" = yes ]; then
    for thp in '' HAKMEM_OS_THP=3 HAKMEM_OS_THP=0; do
        puppet_start $thp
        order alloc 0 1000 10000                # some 10 MiB
        stats "$tmp/json"
        case $thp in
            *=3) huge=$((2048 * ($(superslabs) - 2))) ;;
            *) huge=0 ;;
        esac
        ok "${thp:-by default}: $(superslabs) SuperSlabs" test "$(superslabs)" -ge 5 -a "$(superslabs)" -lt 16
        is "$(huge_kib)" $huge "of them $huge KiB may have hugepages"
        puppet_end
    done
fi

# ---- a program with more rights than its caller: no environment, no segment ------------------------

if [ "$(id -u)" = 0 ]; then
    $CC -O2 -o "$tmp/secure" "$HAK_SRC/tests/work.c" "$HAK_BUILD/libhakmem.a" -pthread ||
        bail 'a program does not link with libhakmem.a'
    chmod 4755 "$tmp/secure"
    chmod 755 "$tmp"
    as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
    export HAKMEM_VERBOSE=1 HAKMEM_TINY_HEAP_V2_STATS=1 HAKMEM_TINY_HEAP_V2_CLASS_MASK=nonsense
    is "$(run as_nobody "$tmp/secure" secure)" $'done\nsecure 1, segments 0\nexit 0' \
        'AT_SECURE: no ENV is read, no segment is made'
    unset HAKMEM_VERBOSE HAKMEM_TINY_HEAP_V2_STATS HAKMEM_TINY_HEAP_V2_CLASS_MASK
    chmod 755 "$tmp/secure"
    is "$(run "$tmp/secure" secure)" $'done\nsecure 0, segments 1\nexit 0' 'the same program otherwise'
else
    skip 'AT_SECURE' "setuid programs can't be made: $(chown 0 "$tmp" 2>&1)"
fi
done_testing
