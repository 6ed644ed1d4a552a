#!/bin/bash
# screenshot.sh: pictures of hakstat's screens from a real run: docs/hakstat-SCREEN.svg.
#
#   docs/screenshot.sh [SCREEN...]       default: all; as root, for the probes
#
# redis-server under libhakmem serves redis-benchmark while tmux holds hakstat; what tmux shows
# becomes SVG by Rich (Debian: tmux redis-server redis-tools python3-rich).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${HAK_BUILD:-$root/build}
[ $# -gt 0 ] || set -- classes threads superslabs knobs latencies events counters probes
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-screenshot.XXXXXX")
pids=()
export LC_ALL=C.UTF-8

in_tmux() { tmux -S "$tmp/tmux" -f /dev/null "$@"; }
cleanup() {
    trap - EXIT
    in_tmux kill-server 2>/dev/null || true
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

# As SVG without fonts from elsewhere: whoever looks has a monospaced one.
svg='
import re, sys
from rich.console import Console
from rich.text import Text
console = Console(record=True, width=int(sys.argv[1]), file=open("/dev/null", "w"), legacy_windows=False)
console.print(Text.from_ansi(sys.stdin.read()), no_wrap=True, crop=False)
text = console.export_svg(title="hakstat")
text = re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.S)
text = text.replace("<svg ", "<svg xml:space=\"preserve\" ", 1)      # leading blanks count
sys.stdout.write(text.replace("Fira Code", "DejaVu Sans Mono"))
'

"$build/hakctl/hakctl" run trace.ring=1 -- redis-server --port 0 --unixsocket "$tmp/redis.sock" \
    --save '' --appendonly no --dir "$tmp" --io-threads 4 --io-threads-do-reads yes >"$tmp/redis.log" 2>&1 &
pid=$!
pids+=($pid)
until redis-cli -s "$tmp/redis.sock" ping >/dev/null 2>&1; do
    kill -0 $pid 2>/dev/null || { cat "$tmp/redis.log" >&2; exit 1; }
    sleep 0.02
done
# load OPTION...: in a loop, of its own size of values, so that all classes have something to do.
load() {
    redis-benchmark -s "$tmp/redis.sock" -l -q -r 20000 "$@" >"$tmp/load.log" 2>&1 &
    pids+=($!)
}
load -d 20 -t set,lpush,lpop -P 4
load -d 300 -t hset,sadd,spop -P 4
load -d 5000 -c 10 -t set

in_tmux start-server \; set -g default-terminal screen-256color \; \
    new-session -d -x 100 -y 26 "$build/hakstat/hakstat -p $pid -d 0.5 --probes"
sleep 12                                # so that the sparks have something to tell
for screen; do
    case $screen in
        classes) key=1 ;; threads) key=2 ;; superslabs) key=3 ;; knobs) key=4 ;;
        latencies) key=5 ;; events) key=6 ;; counters) key=7 ;; probes) key=8 ;;
        *) printf 'screenshot.sh: no screen %s\n' "$screen" >&2; exit 2 ;;
    esac
    in_tmux send-keys $key
    sleep 1
    in_tmux capture-pane -peN | /usr/bin/python3 -c "$svg" 100 >"$tmp/$screen.svg"
    mv "$tmp/$screen.svg" "$root/docs/hakstat-$screen.svg"
    printf 'docs/hakstat-%s.svg\n' "$screen"
done
