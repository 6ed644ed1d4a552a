"""report.py: medians and spreads, ratios to the best peer, tables, CSV, JSON and plots."""

import csv
import math
import shutil
import statistics
import subprocess

from .allocators import PEERS

METRICS = {"time": "seconds", "cpu": "cpu", "rss": "peak_kib"}
TIMES = {"seconds", "cpu"}
BIG_KIB = 10 << 10      # memory is compared on rows in which the best peer needs this much


def spread(values):
    """Distance of the quartiles, relative to the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle if middle else 0.0


def columns(runs, figure):
    """{allocator: [figure, ...]}, one a round."""
    return {allocator: [run["figures"][figure] for run in done] for allocator, done in runs.items()}


def paired_columns(runs, figure):
    """The same, as if all rounds had taken as long as the one in the middle.  The allocators of a round run one
    after the other: how fast the machine is then, or whether two of its CPUs share a cache, holds for all of
    them, and is divided out by their geometric mean.  Rounds that lack one are left out."""
    rounds = {}
    for allocator, done in runs.items():
        for run in done:
            rounds.setdefault(run["round"], {})[allocator] = run["figures"][figure]
    levels = {number: geomean(took.values()) for number, took in rounds.items()
              if len(took) == len(runs) and all(took.values())}
    if not levels:
        return columns(runs, figure)
    middle = statistics.median(levels.values())
    return {allocator: [rounds[number][allocator] / level * middle for number, level in levels.items()]
            for allocator in runs}


def summarise(runs, stat):
    """{row: {allocator: {figure: {"value": …, "spread": …}}}} of the runs that went right; a row and
    allocator with any wrong run is None.  `stat`, of the rounds: "median" or "min", or "paired", the median of
    paired_columns for times and of columns for the rest."""
    choose = min if stat == "min" else statistics.median
    cells = {}
    for run in runs:
        cells.setdefault(run["row"], {}).setdefault(run["allocator"], []).append(run)
    summary = {}
    for row, by_allocator in cells.items():
        right = {a: done for a, done in by_allocator.items() if not any("wrong" in run for run in done)}
        summary[row] = {a: {} if a in right else None for a in by_allocator}
        some = next(iter(right.values()), [{"figures": {}}])
        for figure in (k for k, v in some[0]["figures"].items() if isinstance(v, (int, float))):
            of = paired_columns if stat == "paired" and figure in TIMES else columns
            for allocator, v in of(right, figure).items():
                summary[row][allocator][figure] = {"value": choose(v), "spread": spread(v), "n": len(v)}
    return summary


def value(cells, allocator, figure):
    cell = cells.get(allocator)
    return cell[figure]["value"] if cell else None


def reference(cells, figure, base):
    """(value, name) of what the row is measured by: the allocator `base`, or the best peer that was
    right; None if there is none."""
    names = [base] if base else PEERS
    found = [(value(cells, name, figure), name) for name in names if value(cells, name, figure)]
    return min(found, default=None)


def compare(summary, rows, names, metric, base=None):
    """[(row, reference or None, {allocator: ratio or None})], in table order."""
    figure = METRICS[metric]
    table = []
    for row in rows:
        cells = summary.get(row.name)
        if not cells or (metric != "rss" and not row.timed):
            continue
        best = reference(cells, figure, base)
        ratios = {n: value(cells, n, figure) / best[0] if best and value(cells, n, figure) else None
                  for n in names}
        table.append((row, best, ratios))
    return table


def geomean(values):
    values = [v for v in values if v]
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


def means(table, names, keep=lambda row, best: True):
    return {n: geomean(r[n] for row, best, r in table if best and keep(row, best)) for n in names}


def show(ratio, width):
    return f"{ratio:{width}.2f}" if ratio else " " * (width - 1) + "-"


def print_line(out, label, best, ratios, names, width):
    cells = "".join(show(ratios[n], max(len(n), 5) + 2) for n in names)
    out.write(f"{label:{width}}{best:>22}{cells}\n")


def print_table(out, title, table, names, base, unit, scale, averages):
    width = max([len(row.name) for row, _, _ in table] + [30]) + 1
    header = "".join(f"{n:>{max(len(n), 5) + 2}}" for n in names)
    out.write(f"\n{title}\n{'row':{width}}{base + ', ' + unit:>22}{header}\n")
    for row, best, ratios in table:
        text = f"{best[1]} {best[0] * scale:.1f}" if best else "-"
        print_line(out, row.name, text, ratios, names, width)
    for label, mean in averages:
        print_line(out, label, "", mean, names, width)


def averages(table, names):
    real = lambda row: row.kind != "bench"
    groups = {row.group for row, _, _ in table if not real(row)}
    lines = []
    if any(not real(row) for row, _, _ in table):
        lines.append(("geometric mean, bench rows", means(table, names, lambda r, b: not real(r))))
        by_group = [means(table, names, lambda r, b, g=g: r.group == g) for g in groups]
        lines.append(("the same by program", {n: geomean(m[n] for m in by_group) for n in names}))
    if any(real(row) for row, _, _ in table):
        lines.append(("geometric mean, real programs", means(table, names, lambda r, b: real(r))))
    return lines


def tables(out, summary, rows, names, metric="time", base=None):
    """The two tables as text, time (or CPU) and memory: ratios to the allocator `base`, or to the
    best peer of the row."""
    time, by = compare(summary, rows, names, metric, base), base or "best peer"
    print_table(out, f"{metric}, ratio to {base or 'the best peer'} (below 1 is faster)", time, names,
                by, "ms", 1e3, averages(time, names))
    memory = compare(summary, rows, names, "rss", base)
    big = [line for line in memory if line[1] and line[1][0] >= BIG_KIB]
    if big:
        print_table(out, f"peak resident set, ratio to {base or 'the best peer'}, "
                    "rows of 10 MiB and more", big, names, by, "MiB", 1 / 1024,
                    [("geometric mean", means(big, names))])
    noise = [c[METRICS[metric]]["spread"] for row in summary.values() for c in row.values() if c]
    out.write(f"\nspread (quartile distance over median): median {statistics.median(noise):.1%}, "
              f"worst {max(noise):.1%}\n")
    extras(out, summary, names)


def extras(out, summary, names):
    """Figures that single rows have besides time and memory."""
    lines = [("hello", "peak_kib", "peak resident set, KiB"),
             ("fragmentation", "waste", "mean of resident set over live bytes"),
             ("fragmentation", "settled_kib", "still resident a second after all is freed, KiB")]
    for row, figure, what in lines:
        if row in summary:
            cells = {n: value(summary[row], n, figure) for n in names}
            out.write(f"{row}, {what}: " + ", ".join(
                f"{n} {v:.2f}" if figure == "waste" else f"{n} {v:.0f}"
                for n, v in cells.items() if v is not None) + "\n")


def write_csv(path, summary, rows, names):
    ratios = {m: {row.name: r for row, _, r in compare(summary, rows, names, m)} for m in METRICS}
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["row", "allocator", "runs", "seconds", "seconds_spread", "cpu", "peak_kib",
                      "faults", "time_ratio", "cpu_ratio", "rss_ratio"])
        for row in rows:
            for name in names:
                cell = summary.get(row.name, {}).get(name)
                if not cell:
                    continue
                ratio = [ratios[m].get(row.name, {}).get(name) for m in METRICS]
                out.writerow([row.name, name, cell["seconds"]["n"], f"{cell['seconds']['value']:.6f}",
                              f"{cell['seconds']['spread']:.4f}", f"{cell['cpu']['value']:.6f}",
                              int(cell["peak_kib"]["value"]), int(cell["faults"]["value"]),
                              *(f"{r:.4f}" if r else "" for r in ratio)])


PLOT = """set terminal svg size {width},{height} font 'sans,11' background 'white'
set output '{svg}'
set title '{title}'
set key outside right top
set grid
{settings}
plot {curves}
"""


def gnuplot(out, name, title, settings, blocks, style, size=(1100, 520)):
    """blocks: {curve name: [tuple of columns]}; draws out/name.svg."""
    data = out / f"{name}.dat"
    data.write_text("\n\n\n".join("\n".join(" ".join(map(str, line)) for line in lines)
                                  for lines in blocks.values()) + "\n")
    look = lambda i: "pt 7 " + ("ps 0.6" if i else "ps 0.9 lc 'black'")     # the first stands out
    curves = ", ".join(f"'{data.name}' index {i} {style} {look(i)} title '{curve}'"
                       for i, curve in enumerate(blocks))
    script = out / f"{name}.gp"
    script.write_text(PLOT.format(width=size[0], height=size[1], svg=f"{name}.svg", title=title,
                                  settings=settings, curves=curves))
    subprocess.run(["gnuplot", script.name], cwd=out, check=True)


def plot_ratios(out, name, title, table, names):
    table = [line for line in table if line[1]]
    if not table:
        return
    tics = ", ".join(f"'{row.name}' {i}" for i, (row, _, _) in enumerate(table))
    blocks = {n: [(f"{r[n]:.4f}", i) for i, (_, _, r) in enumerate(table) if r[n]] for n in names}
    settings = ("set logscale x\nset xrange [0.4:8]\n"
                "set xtics (0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 6, 8)\nset xlabel 'below 1: better than "
                f"every peer'\nset yrange [{len(table)}:-1]\nset ytics font ',9' ({tics})\n"
                "set arrow from first 1, graph 0 to first 1, graph 1 nohead lw 2")
    gnuplot(out, name, title, settings, {n: b for n, b in blocks.items() if b},
            "using 1:2 with points", (900, 15 * len(table) + 130))


def plot_curve(out, name, title, xlabel, ylabel, summary, prefix, names, y):
    """One curve an allocator, over the number at the end of the names of a family of rows."""
    xs = sorted(int(row[len(prefix):]) for row in summary
                if row.startswith(prefix) and row[len(prefix):].isdigit())
    blocks = {n: [(x, y(summary[f"{prefix}{x}"][n])) for x in xs if summary[f"{prefix}{x}"].get(n)]
              for n in names}
    blocks = {n: b for n, b in blocks.items() if b}
    if blocks and len(xs) > 1:
        gnuplot(out, name, title, f"set logscale x 2\nset yrange [0:*]\nset xlabel '{xlabel}'\n"
                f"set ylabel '{ylabel}'", blocks, "using 1:2 with linespoints")


def plots(out, summary, rows, names):
    if not shutil.which("gnuplot"):
        print("bench: gnuplot is not installed; no plots")
        return
    rate = lambda cell: cell["ops"]["value"] / cell["seconds"]["value"] / 1e6
    cost = lambda cell: cell["seconds"]["value"] / cell["ops"]["value"] * 1e9
    big = [line for line in compare(summary, rows, names, "rss") if line[1] and line[1][0] >= BIG_KIB]
    plot_ratios(out, "time", "Time, ratio to the best peer of the row",
                compare(summary, rows, names, "time"), names)
    plot_ratios(out, "memory", "Peak resident set, ratio to the best peer of the row", big, names)
    plot_curve(out, "threads", "Random mixed sizes, by number of threads", "threads",
               "million operations per second", summary, "threads-", names, rate)
    plot_curve(out, "heap", "Random replacement, by size of the live heap", "MiB live",
               "ns per operation", summary, "heap-", names, cost)
