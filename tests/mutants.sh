# mutants.sh: tests see the faults they are for.  Each patch in tests/mutants/ brings a fault back;
# the test that it names must fail then.  A patch begins with prose and one line
#
#   Test: tests/NAME
#
# Takes minutes for each patch, so it runs in `./dev check --long` only.
. "$(dirname "$0")/tap.sh"
need patch patch

make -s -C "$HAK_BUILD" distdir distdir="$tmp/tree" >"$tmp/log" 2>&1 ||
    bail "make distdir: $(tail -n 5 "$tmp/log")"
mkdir "$tmp/tree/build" && cd "$tmp/tree/build" || bail "no $tmp/tree"
build() { make -s && make -s check TESTS=; }
{ ../configure -q && build; } >"$tmp/log" 2>&1 || bail "the copy does not build: $(tail "$tmp/log")"

fails() {  # TEST
    ! HAK_SRC= HAK_BUILD= make -s check TESTS="$1" TEST_TIMEOUT=300 >"$tmp/log" 2>&1 &&
        grep -qE '^:test-result: (FAIL|ERROR)' "${1%.sh}.trs"
}
for file in "$HAK_SRC"/tests/mutants/*.patch; do
    name=$(basename "$file" .patch)
    test=$(sed -n 's/^Test: //p' "$file")
    if ok "$name: applies" patch -s -F0 -d .. -p1 -i "$file" && ok "$name: builds" build; then
        ok "$name: $test fails" fails "$test"
    fi
    patch -s -d .. -R -p1 -i "$file" >/dev/null 2>&1
done
done_testing
