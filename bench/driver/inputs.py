"""inputs.py: makes the source files that the compiler rows compile, the same every time."""

FUNCTION = """
static int table_{i}[] = {{ {values} }};
struct record_{i} {{ int key; const char *name; double weight[{n}]; struct record_{i} *next; }};
int lookup_{i}(struct record_{i} *r, int key)
{{
    int found = 0;
    for (; r; r = r->next) {{
        switch ((r->key ^ key) % 7) {{
        case 0: found += table_{i}[(unsigned)key % {n}]; break;
        case 1: found -= r->name[0] * {i}; break;
        case 2: for (int k = 0; k < {n}; k++) r->weight[k] *= found + k; break;
        default: found = found * 31 + (int)r->weight[(unsigned)r->key % {n}];
        }}
    }}
    return found;
}}
"""

TEMPLATE = """
struct Item{i} {{
    std::string name;
    std::vector<int> values;
    bool operator<(const Item{i} &o) const {{ return std::tie(name, values) < std::tie(o.name, o.values); }}
}};
long work{i}(const std::vector<std::string> &in)
{{
    std::map<std::string, Item{i}> by_name;
    std::set<Item{i}> all;
    std::unordered_map<int, std::unique_ptr<Item{i}>> by_size;
    for (const auto &s : in) {{
        by_name[s].values.push_back({i});
        all.insert(Item{i}{{s, {{{i}, (int)s.size()}}}});
        by_size[(int)s.size()] = std::make_unique<Item{i}>(Item{i}{{s, {{}}}});
    }}
    return std::accumulate(all.begin(), all.end(), 0L,
        [](long sum, const Item{i} &x) {{ return sum + (long)x.values.size(); }}) + (long)by_name.size();
}}
"""

HEADERS = "algorithm functional map memory numeric set string tuple unordered_map vector".split()


def make(work):
    with open(work / "functions.c", "w") as out:
        for i in range(250):
            n = 4 + i % 13
            values = ", ".join(str(i * k * 7919 % 1000) for k in range(n))
            out.write(FUNCTION.format(i=i, n=n, values=values))
    with open(work / "templates.cc", "w") as out:
        out.writelines(f"#include <{h}>\n" for h in HEADERS)
        out.writelines(TEMPLATE.format(i=i) for i in range(4))
