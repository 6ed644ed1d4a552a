# programs_python.sh: python3 under the library: objects, threads, fork, subprocess and numpy.
. "${HAK_SRC:-.}/tests/programs.sh"
need pgrep procps
python=/usr/bin/python3
[ -x "$python" ] || python=python3
need "$python" python3

cat >"$tmp/in" <<'END'
import collections, hashlib, json, multiprocessing, os, re, subprocess, sys, threading, zlib

# Objects of every size, made and dropped.
d = collections.OrderedDict()
for i in range(20000):
    d[f"key{i * 31 % 9000}"] = [i, "x" * (i % 200), {"n": i}]
print(hashlib.sha256(json.dumps(d).encode()).hexdigest())
blob = b"".join(hashlib.md5(str(i).encode()).digest() * (i % 40) for i in range(2000))
packed = zlib.compress(blob, 6)
print(len(blob), zlib.decompress(packed) == blob)
text = re.sub(r"(\d+)", lambda m: str(int(m.group(1)) * 2), " ".join(map(str, range(20000))))
print(hashlib.md5(text.encode()).hexdigest())

# Threads that hand objects to each other.
import queue
q, out = queue.Queue(100), []
def make():
    for i in range(2000):
        q.put(bytearray(b"%d" % i) * (i % 500 + 1))
    q.put(None)
def take():
    n = 0
    while (b := q.get()) is not None:
        n += len(b)
    out.append(n)
ts = [threading.Thread(target=f) for f in (make, make, take, take)]
[t.start() for t in ts]
[t.join() for t in ts]
print(sum(out))

# fork, with threads around; pools; subprocesses.
stop = False
def busy():
    while not stop:
        [b"y" * n for n in range(200)]
ts = [threading.Thread(target=busy) for _ in range(2)]
[t.start() for t in ts]
for i in range(10):
    pid = os.fork()
    if pid == 0:
        os._exit(len([str(n) * 10 for n in range(1000)]) % 256)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop = True
[t.join() for t in ts]
print(subprocess.run(["sh", "-c", "echo from a child; exit 3"], capture_output=True))
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(sum(pool.map(len, [b"z" * n for n in range(0, 30000, 7)])))

# numpy, BLAS threads included.
import numpy as np
a = np.arange(250000, dtype=np.float64).reshape(500, 500) % 97
b = a @ a.T
print(int(b.sum()), int(np.trace(b)), np.sort(a.ravel())[::50000].tolist())
print([int(np.resize(np.arange(n % 1000 + 1), n).sum()) for n in range(1, 100000, 9973)])
s = np.array([f"s{i}" for i in range(20000)])
print(np.unique(s).size, float(np.linalg.solve(np.eye(300) * 2, np.ones(300)).sum()))
END
"$python" -c 'import numpy' 2>"$tmp/err" || bail "needs numpy (Debian package python3-numpy): $(tail -1 "$tmp/err")"
same python3 "$tmp/in" "$python" -
same 'python3 with all of its objects from malloc' "$tmp/in" env PYTHONMALLOC=malloc "$python" -
done_testing
