"""segment_reader.py: reads a segment by docs/segment-abi.md and nothing else.

    segment_reader.py FILE      prints {"counters": ..., "latencies": ..., "classes": ...} as JSON
"""
import json
import mmap
import os
import struct
import sys

CALLS = [["heap_v2_pushes", "fast_cache_pushes", "slow_frees", "remote_frees"],     # frees first
         ["heap_v2_hits", "fast_cache_hits", "slow_allocs"]]

fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
size = os.fstat(fd).st_size
seg = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)


def get(form, at):
    return struct.unpack_from("=" + form, seg, at)


def u64(at):
    return get("Q", at)[0]


def text(at, room):
    return seg[at:at + room].split(b"\0")[0].decode()


def rows(at):                   # of the table whose off, count and size are at `at`
    off, count, step = get("3I", at)
    assert off + count * step <= size, "a table leaves the file"
    return range(off, off + count * step, step)


assert seg[:8] == b"HAKMEMSG" and get("H", 8) == (1,) and get("I", 24) == (1,), "not ABI 1, or not ready"
assert u64(16) == size, "total_size is not the file's"
state_off, slots_off, stride, slots_max, inherited = get("I", 176) + get("4I", 200)
slots = [slots_off + i * stride for i in range(min(get("I", state_off + 96)[0], slots_max))]
bins = [get("2I", at) for at in rows(152)]
stats = {(text(at, 40), get("I", at + 280)[0]): get("2I", at + 288) for at in rows(140)}


def total(name, scope, bucket=0, cls=None):
    offset, step = stats[name, scope]
    chosen = [b for b in range(len(bins)) if cls in (None, bins[b][1])] if scope == 2 else [0]
    places = [state_off] if scope == 0 else slots
    return sum(u64(p + offset + b * step + 8 * bucket) for p in places for b in chosen) % 2 ** 64


def of_class(cls, name):
    frees, allocs = (sum(total(c, 2, cls=cls) for c in calls) for calls in CALLS)
    born = sum(u64(state_off + inherited + 8 * b) for b in range(len(bins)) if bins[b][1] == cls)
    return {"class": name, "allocs": allocs, "frees": frees, "live": born + allocs - frees}


json.dump({"counters": {n: total(n, s) for n, s in stats if s < 3},
           "latencies": {n: [total(n, s, b) for b in range(32)] for n, s in stats if s == 3},
           "classes": [of_class(c, text(at, 8)) for c, at in enumerate(rows(164))]}, sys.stdout)
