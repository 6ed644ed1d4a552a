# tables.awk: fill the tables of abi/, and hakstat's keys, into a manual page.
#
#   cpp -P man/tables.h | awk -v libdir=/usr/lib -f man/tables.awk - man/hakmem.7.in
#
# First the rows, one a line, fields between bars; then the template, in which a line @knobs@,
# @bins@, @bin_stat@, @sample_stat@, @thread_stat@, @hist@, @global_stat@, @walk_stat@, @probe@ or @key@ is replaced
# by the rows of that table, and @libdir@ anywhere by the directory of the library.

function field(i,   s) {
    s = part[i]
    gsub(/^[ \t]+|[ \t]+$/, "", s)
    gsub(/"[ \t]*"/, "", s)
    gsub(/^"|"$/, "", s)
    return s
}
function roff(s) {
    gsub(/\\/, "\\e", s)
    return s ~ /^[.']/ ? "\\&" s : s
}
# Arguments of a macro: a delimiter that stands alone is one too.
function args(s,   word, n, i, text) {
    n = split(roff(s), word, " ")
    for (i = 1; i <= n; i++)
        text = text (i > 1 ? " " : "") (word[i] ~ /^[].,:;()?!|[]$/ ? "\\&" : "") word[i]
    return text
}
# Text as mdoc wants it: a sentence begins a line, and no line is longer than 79 bytes.
function prose(s,   word, n, i, line, text) {
    n = split(s, word, " ")
    for (i = 1; i <= n; i++) {
        if (line != "" && (line ~ /[.]$/ || length(line) + length(word[i]) > 78)) {
            text = text roff(line) "\n"
            line = ""
        }
        line = line (line == "" ? "" : " ") word[i]
    }
    return text roff(line)
}
function env(name) {
    gsub(/[.]/, "_", name)
    return "HAKMEM_" toupper(name)
}
# A knob's value as hakctl writes it.
function value(v, type) {
    if (type == "MASK")
        return v ~ /^0x/ ? v : sprintf("0x%X", v)
    return v
}
function knob(   type, unit, text) {
    type = field(3)
    unit = field(5)
    text = ".It Sy " field(2) "\n" prose(field(10)) "\n.Pp\n"
    text = text ".Bl -tag -width \"environment\" -compact -offset indent\n"
    text = text ".It environment\n.Ev " env(field(2))
    if (field(9) != "")
        text = text " ,\n.Ev " field(9)
    text = text "\n.It type\n" tolower(type) (unit == "" ? "" : ", in " unit)
    text = text "\n.It range\n" value(field(6), type) " to " value(field(7), type)
    text = text "\n.It default\n" value(field(8), type)
    text = text "\n.It context\n" tolower(field(4)) "\n.El\n"
    out["knobs"] = out["knobs"] text
}
function stat(table,   unit, kind, note) {
    unit = field(3)
    kind = tolower(field(4))
    note = kind == "counter" ? unit : unit == "" ? kind : kind ", " unit
    out[table] = out[table] ".It Sy " args(field(2)) (note == "" ? "" : " Pq " note) "\n" \
        prose(field(5)) "\n"
}
function probe(   i, text) {
    text = ".It Sy " field(2) "\n" prose(field(3)) "\n"
    text = text ".Bl -tag -width \"arg0\" -compact -offset indent\n"
    for (i = 4; i in part; i += 3)
        text = text ".It Sy arg" (i - 4) / 3 "\n.Vt " field(i) "\n.Va " field(i + 1) " :\n" \
            prose(field(i + 2)) "\n"
    out["probe"] = out["probe"] text ".El\n"
}
function bin(   cls) {
    cls = table == "bin_aligned" ? "aligned" : field(3) < 8 ? "C" field(3) : "mid"
    if (!(cls in sizes))
        order[++classes] = cls
    sizes[cls] = sizes[cls] (sizes[cls] == "" ? "" : ", ") field(2)
}

BEGIN { first = 1 }
FNR == 1 && NR > 1 { first = 0 }
first && /^[ \t]*@/ {
    split($0, part, "|")
    table = part[1]
    gsub(/[ \t@]/, "", table)
    if (table == "knob")
        knob()
    else if (table == "bin" || table == "bin_aligned")
        bin()
    else if (table == "probe")
        probe()
    else
        stat(table)
}
first { next }
/^@bins@$/ {
    for (i = 1; i <= classes; i++)
        printf ".It %s Ta %s\n", order[i], sizes[order[i]]
    next
}
/^@[a-z_]+@$/ {
    table = substr($0, 2, length($0) - 2)
    if (!(table in out)) {
        printf "tables.awk: %s:%d: no table %s\n", FILENAME, FNR, table > "/dev/stderr"
        exit 1
    }
    printf "%s", out[table]
    next
}
{
    gsub(/@libdir@/, libdir)
    print
}
