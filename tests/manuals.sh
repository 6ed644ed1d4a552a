# manuals.sh: the manual pages are sound and say what the tables and the library say.
. "$(dirname "$0")/tap.sh"
need mandoc mandoc

pages="$HAK_BUILD/man/hakmem.7 $HAK_BUILD/man/hakmem-probes.7 $HAK_SRC/man/hakmem.3 $HAK_SRC/man/hakctl.1 $HAK_SRC/man/hakprobe.1"
[ -e "$HAK_BUILD/man/hakstat.1" ] && pages+=" $HAK_BUILD/man/hakstat.1"
for page in $pages; do
    # Whether the pages of others are installed is the machine's matter.
    is "$(mandoc -Tlint "$page" 2>&1 | grep -v 'referenced manual not found\|outdated mandoc.db')" '' \
        "mandoc finds nothing to say about ${page##*/}"
done
for page in $pages; do
    for section in 'EXIT STATUS' EXAMPLES; do
        case $page in *.3 | *-probes.7) continue ;; esac
        ok "${page##*/} has the section $section" grep -q "^\.Sh $section\$" "$page"
    done
done

# What is copied from an example is a whole command: no line of one is wrapped at 80 columns.
for page in $pages; do
    mandoc -Tascii -Owidth=78 "$page" | sed 's/.\x08//g' >"$tmp/rendered"
    wrapped=$(sed -n '/^\.Sh EXAMPLES/,/^\.Sh [^E]/s/^\.Dl //p' "$page" | grep -v ' Ns \|\\' | grep -vxFf <(sed 's/^ *//' "$tmp/rendered" | grep .))
    is "$wrapped" '' "${page##*/}: no line of an example is wrapped"
done

# A machine's awk may be any of these.
need mawk mawk
need gawk gawk
need original-awk original-awk
need busybox busybox
${CC:-gcc} -E -P -x c "-I$HAK_SRC" "$HAK_SRC/man/tables.h" >"$tmp/rows"
for page in hakmem.7 hakmem-probes.7 hakstat.1; do
    fill() { "$@" -v libdir=/lib -f "$HAK_SRC/man/tables.awk" "$tmp/rows" "$HAK_SRC/man/$page.in" 2>&1; }
    fill mawk >"$tmp/page"
    for awk in gawk original-awk 'busybox awk'; do
        ok "$page as $awk makes it" cmp "$tmp/page" <(fill $awk)
    done
done

text() { mandoc -Tascii -Owidth=72 "$1" | sed 's/.\x08//g' | tr -s ' \n' ' '; }
plain=$(text "$HAK_BUILD/man/hakmem.7")
has() {  # TEXT DESCRIPTION
    [[ $plain == *"$1"* ]]
    tap_result $? "$2" || diag "not in hakmem(7): $1"
}

# The tables, read here by other means than those that made the page.
rows() {  # FILE MACRO: its rows, one a line
    sed -nE "/^$2\(/ { :more; /\"\)\$/! { N; b more }; s/\n */ /g; p }" "$1"
}
knobs=0
while IFS= read -r row; do
    knobs=$((knobs + 1))
    name=$(sed -E 's/^[^"]*"([^"]*)".*/\1/' <<<"$row")
    alias=$(sed -nE 's/.*"(HAKMEM_[A-Z0-9_]*)".*/\1/p' <<<"$row")
    help=$(sed -E 's/.*"([^"]*)"\)$/\1/' <<<"$row")
    read -r type context min max def < <(sed -E \
        's/^[^"]*"[^"]*", ([A-Z]+), ([A-Z]+), "[^"]*", ([^,]+), ([^,]+), ([^,]+),.*/\1 \2 \3 \4 \5/' <<<"$row")
    [ "$type" != MASK ] || min=0x0
    env=$(tr a-z. A-Z_ <<<"HAKMEM_$name")
    has "$name ${help}" "$name: help"
    has "environment $env${alias:+, $alias} type ${type,,}" "$name: ENV${alias:+, alias} and type"
    has "range $min to $max default $def context ${context,,}" "$name: range, default, context"
done < <(rows "$HAK_SRC/abi/knobs.def" KNOB)
is "$knobs" "$(grep -c '^KNOB(' "$HAK_SRC/abi/knobs.def")" 'every row of knobs.def was looked at'

stats=0
for kind in BIN_STAT SAMPLE_STAT THREAD_STAT HIST GLOBAL_STAT WALK_STAT; do
    while IFS= read -r row; do
        stats=$((stats + 1))
        name=$(sed -E 's/^[^"]*"([^"]*)".*/\1/' <<<"$row")
        help=$(sed -E 's/.*"([^"]*)"\)$/\1/' <<<"$row")
        has "$name" "$name: named"
        has "$help" "$name: help"
    done < <(rows "$HAK_SRC/abi/stats.def" $kind)
done
is "$stats" "$(grep -cE '^(BIN_STAT|SAMPLE_STAT|THREAD_STAT|HIST|GLOBAL_STAT|WALK_STAT)\(' "$HAK_SRC/abi/stats.def")" \
    'every row of stats.def was looked at'
probes=$(text "$HAK_BUILD/man/hakmem-probes.7")
points=0
while IFS= read -r row; do
    points=$((points + 1))
    read -ra field < <(grep -oE '"[^"]*"' <<<"$row" | wc -l)      # its help, and an argument's each
    is "${row:5:1}" $((field - 1)) "${row:7:12}...: as many arguments as the name of its macro says"
    n=0
    while IFS= read -r help; do
        [[ $probes == *"$help"* ]]
        tap_result $? "$help: in hakmem-probes(7)"
        n=$((n + 1))
    done < <(grep -oE '"[^"]*"' <<<"$row" | tr -d '"')
done < <(rows "$HAK_SRC/abi/probes.def" 'PROBE[1-4]')
is "$points" "$(grep -c '^PROBE[1-4](' "$HAK_SRC/abi/probes.def")" 'every row of probes.def was looked at'
for size in $(sed -nE 's/^BIN(_ALIGNED)?\( *([0-9]+),.*/\2/p' "$HAK_SRC/abi/sizes.def"); do
    [[ $plain =~ [\ ,]$size[\ ,] ]]
    tap_result $? "bin of $size bytes" || diag 'not in hakmem(7)'
done

# What a library says of itself in its segment.
need jq jq
in_background preloaded sleep 1000
pid=$!
wait_until "$hakctl" get -p $pid verbose
while IFS=$'\t' read -r name env type min max def context; do
    if [ "$type" = mask ]; then
        printf -v min 0x%X "$min"
        printf -v max 0x%X "$max"
        printf -v def 0x%X "$def"
    elif [ "$type" = octal ]; then
        printf -v min 0%o "$min"
        printf -v max 0%o "$max"
        printf -v def 0%o "$def"
    fi
    [[ $plain == *" $name "*" environment $env"*" type $type"*" range $min to $max default $def context $context "* ]]
    tap_result $? "$name: the running library says the same"
    knobs=$((knobs - 1))
done < <("$hakctl" -j list -p $pid |
    jq -r '.knobs[] | [.name, .env, .type, .min, .max, .default, .context] | @tsv')
is "$knobs" 0 'and has as many knobs'
counters=$("$hakctl" -j stats -p $pid | jq -r '.counters | keys[]')
for name in $counters; do has " $name " "$name: named"; done
laws=0
while IFS=$'\t' read -r law equation; do
    laws=$((laws + 1))
    has " $law $equation " "the law $law and its equation"
done < <("$hakctl" -j stats --check -p $pid | jq -r '.laws[] | [.law, .equation] | @tsv')
is $laws 5 'which are five'

plain=$(text "$HAK_SRC/man/hakctl.1")
for word in $("$hakctl" --help | grep -oE '^  [a-z]+|(^|[^a-z-])--?[a-z][a-z-]*' | grep -oE '[a-z-]+' | sort -u); do
    [[ $plain == *[\ \[\(]$word[],\ :.\)]* ]]
    tap_result $? "hakctl(1) knows $word" || diag "not in hakctl(1): $word"
done
if [ -e "$HAK_BUILD/probes/hakprobe" ]; then
    plain=$(text "$HAK_SRC/man/hakprobe.1")
    for word in $("$HAK_BUILD/probes/hakprobe" --help | grep -oE '(^|[ ;])--?[a-zA-Z][a-z-]*' | grep -oE '[-a-zA-Z]+' | sort -u); do
        [[ $plain == *[\ \[]$word[],\;\ \[=]* ]]
        tap_result $? "hakprobe(1) knows $word" || diag "not in hakprobe(1): $word"
    done
fi
done_testing
