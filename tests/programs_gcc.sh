# programs_gcc.sh: gcc and g++ under the library make the same object from a large source file.
. "${HAK_SRC:-.}/tests/programs.sh"
need pgrep procps
need g++ g++
need perl perl

perl -e '
    print "#include <stdio.h>\n#include <string.h>\n#include <stdlib.h>\n";
    for my $i (1 .. 250) {
        print "static int table$i\[64] = {", join(",", map { $_ * $i % 251 } 0 .. 63), "};\n",
              "int f$i(int n, const char *s) { int sum = 0; for (int i = 0; i < n; i++) { switch ((i + $i) % 7) {\n",
              (map { "case $_: sum += table$i\[(i * $_ + sum) & 63] ^ s[i % 5]; break;\n" } 0 .. 5),
              "default: sum -= f" . ($i > 1 ? $i - 1 : 1) . "(n / 2, s); } } return sum + (int)strlen(s) * $i; }\n";
    }
    print "int main(void) { printf(\"%d\\n\", f250(3, \"abcde\")); return 0; }\n"' >"$tmp/in.c"
cat >"$tmp/in.cc" <<'END'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>
template <int N> struct Fold { static int of(const std::vector<int> &v) { return v[N % v.size()] * N + Fold<N - 1>::of(v); } };
template <> struct Fold<0> { static int of(const std::vector<int> &v) { return v[0]; } };
int main()
{
    std::map<std::string, std::vector<int>> m;
    std::unordered_map<int, std::shared_ptr<std::set<std::string>>> u;
    std::mt19937 g(1);
    for (int i = 0; i < 1000; i++) {
        m["k" + std::to_string(g() % 50)].push_back(i);
        auto &s = u[i % 20];
        if (!s)
            s = std::make_shared<std::set<std::string>>();
        s->insert(std::to_string(i * 7));
    }
    std::regex r("([0-9]+)-([a-z]+)");
    std::smatch found;
    std::string text = "12-ab 34-cd";
    std::regex_search(text, found, r);
    std::function<int(int)> f = [&](int n) { return n < 2 ? n : f(n - 1) + f(n - 2); };
    std::ostringstream o;
    for (auto &[k, v] : m)
        o << k << Fold<300>::of(v) << std::accumulate(v.begin(), v.end(), 0);
    std::cout << std::hash<std::string>()(o.str()) << found[2] << f(20) << u.size() << '\n';
}
END
sed -i 's/^#include <memory>/&\n#include <numeric>/' "$tmp/in.cc"

child=cc1
same 'gcc -O2' "$tmp/in.c" gcc -O2 -x c - -S -o -
gcc -x assembler "$tmp/out" -o "$tmp/prog" && is "$("$tmp/prog")" "$(gcc -x c -O1 "$tmp/in.c" -o "$tmp/ref" && "$tmp/ref")" \
    'the program that it makes computes the same as one from gcc -O1'
child=cc1plus
same 'g++ -O2' "$tmp/in.cc" g++ -std=gnu++17 -O2 -x c++ - -S -o -
ok 'gcc, as and ld under the library, in a pipe' preloaded gcc -pipe -O1 "$tmp/in.c" -o "$tmp/prog2"
is "$("$tmp/prog2")" "$("$tmp/ref")" 'make a program that computes the same'
done_testing
