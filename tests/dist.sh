# dist.sh: the distribution holds every file of the repository, and the mutants are of this code.
. "$(dirname "$0")/tap.sh"
need patch patch

make -s -C "$HAK_BUILD" distdir distdir="$tmp/dist" >"$tmp/log" 2>&1
is $? 0 'make distdir' || diag "$(cat "$tmp/log")"
if git -C "$HAK_SRC" rev-parse >/dev/null 2>&1; then
    is "$(cd "$HAK_SRC" && git ls-files | grep -v '^\.gitignore$' |
            while read -r file; do [ -e "$tmp/dist/$file" ] || echo "$file"; done)" '' \
        'every file of the repository is in it'
fi
ok 'and what bootstrap makes' test -x "$tmp/dist/configure"
for mutant in "$HAK_SRC"/tests/mutants/*.patch; do
    ok "$(basename "$mutant") applies" patch -s -F0 --dry-run -d "$HAK_SRC" -p1 -i "$mutant"
done
done_testing
