# symbols.sh: the names that libhakmem.so and libhakmem.a show to the world, and how it was linked.
. "$(dirname "$0")/tap.sh"
need nm binutils

family='aligned_alloc calloc free free_aligned_sized free_sized mallinfo mallinfo2 malloc
    malloc_info malloc_stats malloc_trim malloc_usable_size mallopt memalign posix_memalign pvalloc
    realloc reallocarray valloc'
# Functions that hakmem.h declares.
public=$(grep -oE '\bhak_[a-z0-9_]+\(' "$HAK_SRC/lib/api/hakmem.h" | tr -d '(')
want=$(printf '%s\n' $family $public dlopen | sort -u)

is "$(nm -D --defined-only "$lib" | awk '{ print $3 }' | sort)" "$want" \
    'libhakmem.so exports the malloc family, dlopen and what hakmem.h declares, and no more'
unlike "$(nm -D "$lib" | awk '$1 == "U" || $2 == "U"')" 'libstdc|libgcc|__tls_get_addr' \
    'it needs neither libstdc++ nor a call for its thread-local storage'

is "$(nm -g --defined-only "$HAK_BUILD/libhakmem.a" | awk 'NF == 3 { print $3 }' | sort)" "$want" \
    'libhakmem.a has the same global names, so that no other one meets a program'"'"'s'

headers=$(readelf -lW "$lib")
tls=$(awk '$1 == "TLS" { print $6 }' <<<"$headers")
ok "at most 64 bytes of thread-local storage (they are ${tls:-0x0})" test $((${tls:-0})) -le 64
unlike "$(readelf -rW "$lib")" 'DTPMOD|DTPOFF|TLSDESC' 'thread-local storage is initial-exec only'
dynamic=$(readelf -dW "$lib")
like "$dynamic" 'NODELETE' 'is never unloaded'
like "$dynamic" 'SONAME.*\[libhakmem\.so\.0\]' 'the soname is libhakmem.so.0'
unlike "$dynamic" 'TEXTREL' 'has no text relocations'
unlike "$headers" 'GNU_STACK.* RWE' 'the stack is not executable'
done_testing
