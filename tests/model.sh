# model.sh: the models of what runs without a lock, in tests/model/, checked by spin: every order of
# their steps, within bounds.  The comment that begins a model says how it is run:
#
#   Also: -D…        with these too
#   Long: -D… -D…    with these bounds if HAK_LONG is set
#   Must fail: -D…   with each of these faults an order of steps must be found that shows it
. "$(dirname "$0")/tap.sh"
need spin spin
cd "$tmp" || bail "no $tmp"

# The -D… that follow a word in the head of a model, up to the next full stop.
said() {
    sed -n '1,/\*\//p' "$HAK_SRC/tests/model/$1.pml" | tr '\n' ' ' | grep -oP "$2: \K[^.]*" | grep -oE -e '-D\w+(=[0-9]+)?'
}
# search MODEL [-D…]: all states, or up to the first error; prints spin's report.
search() {
    local model=$HAK_SRC/tests/model/$1.pml
    shift
    spin -a "$@" "$model" >spin.log && ${CC:-cc} -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m1000000
}
holds() {
    local report
    report=$(search "$@") && grep -q ', errors: 0$' <<<"$report" && ! grep -qE 'too small|out of memory' <<<"$report"
    tap_result $? "$*: holds in every order" || diag "$(cat spin.log)"$'\n'"$report"
}
fails() {
    local report
    report=$(search "$@")
    like "$report" ', errors: 1'$'\n' "$*: is found"
}
for file in "$HAK_SRC"/tests/model/*.pml; do
    model=$(basename "$file" .pml)
    holds "$model"
    for define in $(said "$model" Also); do holds "$model" "$define"; done
    if [ -n "${HAK_LONG-}" ]; then
        mapfile -t bounds < <(said "$model" Long)
        holds "$model" "${bounds[@]}"
    fi
    faults=$(said "$model" 'Must fail')
    ok "$model: says what must fail" test -n "$faults"
    for define in $faults; do fails "$model" "$define"; done
done
done_testing
