# versions.py: makes, from a copy of the sources, those of a library of another version: knobs and
# counters added, removed and in another order, longer rows of descriptors.
#
#   versions.py DIRECTORY tools      what both the library and the tools of that version have
#   versions.py DIRECTORY library    what is in the segment alone: tools know the shorter rows
import re, sys

top, part = sys.argv[1:]


def edit(path, *changes):
    with open(f'{top}/{path}') as f:
        text = f.read()
    for old, new in changes:
        assert re.search(old, text, re.M | re.S), (path, old)
        text = re.sub(old, new, text, flags=re.M | re.S)
    with open(f'{top}/{path}', 'w') as f:
        f.write(text)


def backwards(path, macros):
    """Each run of rows of a macro, last one first."""
    with open(f'{top}/{path}') as f:
        text = f.read()
    row = rf'(?:{macros})\([^\n]*?(?:\n +"[^\n]*)?"\)\n'
    runs = re.sub(rf'(?:^{row})+', lambda run: ''.join(re.findall(rf'^{row}', run[0], re.M)[::-1]), text, flags=re.M)
    assert runs != text, path
    with open(f'{top}/{path}', 'w') as f:
        f.write(runs)


if part == 'tools':
    backwards('abi/knobs.def', 'KNOB')
    backwards('abi/stats.def', 'BIN_STAT|SAMPLE_STAT|THREAD_STAT|HIST|GLOBAL_STAT|WALK_STAT')
    edit('abi/knobs.def',
         (r'^KNOB\(sfc_cascade,.*?"\)\n', ''),
         (r'^KNOB\(inline_sll', r'KNOB(other_knob, "other.knob", UINT, LIVE, "things", 1, 9, 5, "", "Of another version.")\n\g<0>'))
    edit('abi/stats.def',
         (r'^THREAD_STAT\(lock_waits,.*?\n', ''), (r'^HIST\(lock_wait,.*?\n', ''),
         (r'^THREAD_STAT\(refills', r'THREAD_STAT(other_count, "other_count", "", "Of another version.")\n\g<0>'),
         (r'^HIST\(refill', r'HIST(other_time, "other_time", "Of another version.")\n\g<0>'),
         (r'^GLOBAL_STAT\(mapped,', r'GLOBAL_STAT(other_gauge, "other_bytes", GAUGE, "bytes", "Of another version.")\n\g<0>'),
         (r'"sll_pops"', '"other_pops"'))
    edit('lib/base/lock.c', (r'^    COUNT\(slot->thread.lock_waits, 1\);\n    hak_hist_add[^\n]*\n', '    (void)slot;\n'))
    edit('abi/segment.h', (r'(HAK_ABI_MINOR +)(\d+)', lambda m: m[1] + str(int(m[2]) + 1)))
else:
    edit('abi/segment.h', (r'(struct hak_knob_desc \{.*?)\n\};', r'\1\n    char     more[24];\n};'),
         (r'(struct hak_stat_desc \{.*?)\n\};', r'\1\n    uint64_t more;\n};'),
         (r'(struct hak_class_desc \{.*?)\n\};', r'\1\n    uint64_t more;\n};'))
