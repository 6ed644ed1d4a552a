# configure.sh: what configure says of options that can't be had, and of what it will build.
. "$(dirname "$0")/tap.sh"
cd "$tmp" || bail "no $tmp"
# A few seconds each, less with a cache.
configure() { "$HAK_SRC/configure" -q --config-cache CC="${CC:-cc}" "$@" 2>&1; }

out=$(configure)
is $? 0 'configure without options'
for part in 'hakctl *yes' 'hakstat *yes' 'eBPF probes *(yes|no)' 'USDT points *(yes|no)' \
        'invariant checks *no' 'counters *yes' 'prefixed API *no' 'warnings as errors *no'; do
    like "$out" "  $part" "the summary says: ${part//\*/}"
done

refuses() {  # OPTION MESSAGE
    out=$(configure "$1")
    is $? 1 "$1 is refused"
    is "$out" "configure: error: $2" "$1: why"
}
refuses --enable-probes=maybe '--enable-probes=maybe: the values are yes|no|auto'
# Without anything of what the probes need.  The cache would remember what there is.
rm -f config.cache
out=$(PKG_CONFIG_LIBDIR=$tmp configure --enable-probes=yes --disable-hakctl CLANG=no BPFTOOL="$tmp/no")
is $? 1 '--enable-probes=yes is refused where all is missing'
is "$out" 'configure: error: --enable-probes=yes: these are missing (by their Debian packages): clang bpftool libbpf-dev libjansson-dev' \
    'and says what'
rm -f config.cache
out=$(configure CLANG=no BPFTOOL="$tmp/no")
like "$out" 'eBPF probes *no, for want of clang bpftool' 'without being asked for, they are left out'
rm -f config.cache
refuses --enable-hakstat=maybe '--enable-hakstat=maybe: the values are yes|no|auto'
refuses --enable-stats=auto '--enable-stats=auto: the values are yes|no'
out=$(configure --disable-hakctl --disable-hakstat --disable-probes --disable-usdt --disable-stats --enable-debug)
is $? 0 'all options the other way round'
for part in 'hakctl *no' 'hakstat *no' 'USDT points *no' 'eBPF probes *no' 'invariant checks *yes' 'counters *no'; do
    like "$out" "  $part" "the summary says: ${part//\*/}"
done
rm config.cache
refuses --host=riscv64-linux-gnu \
    'hakmem runs on x86-64 and aarch64 Linux with glibc, not on riscv64-unknown-linux-gnu'

# ./dev builds in build/, which configure refuses where the tree itself is configured.
mkdir "$tmp/tree"
cp "$HAK_SRC/dev" "$tmp/tree"
touch "$tmp/tree/config.status"
for verb in build demo bench check; do
    out=$("$tmp/tree/dev" $verb 2>&1)
    is "$?|$out" "1|dev: the tree itself is configured, and this builds in build/: run 'make distclean' here, then ./dev $verb again" \
        "./dev $verb after ./configure in the tree: what to do"
done
is "$(ls "$tmp/tree")" $'config.status\ndev' 'and nothing was begun'
out=$("$tmp/tree/dev" help)
is $? 0 './dev help: works all the same'
like "$(cat "$HAK_SRC/CONTRIBUTING.md")" 'mkdir -p build && cd build' 'by hand: also where ./dev has made build/'
done_testing
