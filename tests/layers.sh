# layers.sh: every layer of the library links with those above it alone, and no file includes what
# its part of the tree must not know.
. "$(dirname "$0")/tap.sh"
need readelf binutils
cd "$HAK_SRC" || bail "no $HAK_SRC"

layers='base core front control api'
above=
for layer in $layers; do
    above="$HAK_BUILD/.libs/libhak$layer.a $above"
    ok "lib/$layer links with the layers above it alone" \
        ${CC:-cc} -shared -Wl,-z,defs -o "$tmp/$layer.so" \
        -Wl,--whole-archive $above -Wl,--no-whole-archive
done

# foreign DIRECTORY ALLOWED-PREFIX…: the includes in it that are neither the system's nor allowed.
foreign() {
    local dir=$1 allowed
    shift
    allowed=$(printf '%s|' "$@")
    grep -HnE '^ *# *include *"' -r "$dir" --include='*.[ch]' |
        grep -vE "#[^\"]*\"(${allowed%|})" | sed 's/: */: /'
}
known='abi/'
for layer in $layers; do
    known="$known lib/$layer/"
    is "$(foreign "lib/$layer" $known)" '' "lib/$layer includes only $known"
done
is "$(foreign shm abi/ shm/)" '' 'shm includes only abi/ and shm/'
is "$(foreign hakctl abi/ shm/ hakctl/)" '' 'hakctl includes only abi/, shm/ and its own'
is "$(foreign hakstat abi/ shm/ probes/probes.h hakstat/)" '' 'hakstat includes only abi/, shm/, probes/probes.h and its own'
is "$(foreign probes abi/ shm/ probes/)" '' 'probes includes only abi/, shm/ and its own'
is "$(grep -hE '^ *# *include' abi/segment.h)" '#include <stdint.h>' \
    'abi/segment.h includes <stdint.h> alone'
is "$(grep -lE '^ *# *include *"abi/layout\.h"' -r shm hakctl hakstat probes)" '' \
    'no tool compiles in the order of knobs and counters'
done_testing
