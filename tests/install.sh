# install.sh: what make install puts where, and that a program finds it through pkg-config.
. "$(dirname "$0")/tap.sh"
need pkg-config pkg-config

dest=$tmp/dest
make -s -C "$HAK_BUILD" DESTDIR="$dest" prefix=/opt/hakmem install >"$tmp/log" 2>&1
is $? 0 'make install with DESTDIR and prefix' || diag "$(cat "$tmp/log")"

want='bin/hakctl
include/hakmem.h
lib/libhakmem.a
lib/libhakmem.la
lib/libhakmem.so
lib/libhakmem.so.0
lib/libhakmem.so.0.0.0
lib/pkgconfig/hakmem.pc
share/bash-completion/completions/hakctl
share/man/man1/hakctl.1
share/man/man3/hakmem.3
share/man/man7/hakmem-probes.7
share/man/man7/hakmem.7
share/zsh/site-functions/_hakctl'
[ ! -e "$HAK_BUILD/probes/hakprobe" ] || want+='
bin/hakprobe
share/bash-completion/completions/hakprobe
share/man/man1/hakprobe.1
share/zsh/site-functions/_hakprobe'
[ ! -e "$hakstat" ] || want+=$'\nbin/hakstat\nshare/man/man1/hakstat.1'
is "$(cd "$dest/opt/hakmem" && find . ! -type d | sed 's,^\./,,' | sort)" "$(sort <<<"$want")" \
    'these files, and no others'

# hakmem.pc was written for the configured prefix; point it at the copy.
cat >"$tmp/prog.c" <<'END'
#include <hakmem.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
    char *p = malloc(100);
    int good = p && malloc_usable_size(p) == 112;
    free(p);
    return good ? 0 : 1;
}
END
sed -i '1i #include <malloc.h>' "$tmp/prog.c"
export PKG_CONFIG_PATH=$dest/opt/hakmem/lib/pkgconfig
prefix=--define-variable=prefix=$dest/opt/hakmem
read -ra flags < <(pkg-config $prefix --cflags --libs hakmem)
ok 'a program links with it through pkg-config' \
    ${CC:-cc} -Wall -Werror "$tmp/prog.c" -o "$tmp/dynamic" "${flags[@]}"
ok 'and runs on it: 100 bytes are a block of 112' \
    env LD_LIBRARY_PATH="$dest/opt/hakmem/lib" "$tmp/dynamic"
like "$(LD_LIBRARY_PATH=$dest/opt/hakmem/lib ldd "$tmp/dynamic")" \
    "libhakmem.so.0 => $dest" 'the library by its soname'
read -ra flags < <(pkg-config $prefix --cflags --libs --static hakmem)
ok 'a static program links too' \
    ${CC:-cc} -static "$tmp/prog.c" -o "$tmp/static" "${flags[@]}"
ok 'and runs on it' "$tmp/static"
is "$(pkg-config --modversion hakmem)" "$("$dest/opt/hakmem/bin/hakctl" --version | awk '{ print $2 }')" \
    'hakmem.pc and hakctl --version agree'
ok 'the installed hakctl starts a program under the installed library' \
    "$dest/opt/hakmem/bin/hakctl" run -- true

make -s -C "$HAK_BUILD" DESTDIR="$dest" prefix=/opt/hakmem uninstall >"$tmp/log" 2>&1
is "$(find "$dest" ! -type d)" '' 'make uninstall leaves nothing'
done_testing
