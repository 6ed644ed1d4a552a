# programs_node.sh: node under the library: V8's and libuv's threads, workers, compression, hashes.
. "${HAK_SRC:-.}/tests/programs.sh"
need pgrep procps
need node nodejs

cat >"$tmp/in" <<'END'
const crypto = require('crypto'), zlib = require('zlib'), { Worker } = require('worker_threads');
const hash = x => crypto.createHash('sha256').update(x).digest('hex');
const m = new Map();
for (let i = 0; i < 50000; i++) m.set('k' + i * 31 % 7000, { i, s: 'x'.repeat(i % 100), a: [i, i + 1] });
console.log(hash(JSON.stringify([...m])));
const data = Buffer.concat(Array.from({ length: 3000 }, (_, i) => Buffer.alloc(i % 700, i)));
console.log(zlib.gunzipSync(zlib.gzipSync(data)).equals(data), data.length);
const body = `const { parentPort, workerData } = require('worker_threads');
  let s = 0; for (let i = 0; i < 200000; i++) s += ('' + i * workerData).length; parentPort.postMessage(s);`;
const worker = n => new Promise((ok, no) => { const w = new Worker(body, { eval: true, workerData: n }); w.on('message', ok); w.on('error', no); });
const deflate = n => new Promise((ok, no) => zlib.deflate(Buffer.alloc(300000, n), (e, b) => e ? no(e) : ok(b.length)));
(async () => {
  console.log(await Promise.all([1, 2, 3].map(worker)));
  console.log(await Promise.all([1, 2, 3, 4, 5, 6].map(deflate)));
  console.log(hash(await new Promise((ok, no) => crypto.pbkdf2('a', 'b', 5000, 64, 'sha512', (e, k) => e ? no(e) : ok(k)))));
})();
END
same node "$tmp/in" node -
done_testing
