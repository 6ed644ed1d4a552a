# hakstat_screen.sh: hakstat in a real terminal: every screen and every key, sizes, signals, the end
# of the process that is watched; against segments whose figures are known (tests/fixture_segment).
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/screen.sh"

# start ARGUMENT...: a fixture; its pid is in $pid.
start() {
    rm -f "$tmp/pid"
    in_background "$HAK_BUILD/tests/fixture_segment" "$@" >"$tmp/pid"
    wait_until test -s "$tmp/pid" || bail "fixture_segment $* did not start"
    pid=$(cat "$tmp/pid")
}
stop() {
    kill -KILL "$@"
    wait "$@" 2>/dev/null
}
# Every key's action in keys.def must come by here.
did=
does() { did+=" $1"; }
# The n-th knob's ENV name, from 0: the detail of the chosen row on the knobs screen.
knob_env() {
    sed -nE 's/^KNOB\([^"]*"([^"]*)".*/\1/p' "$HAK_SRC/abi/knobs.def" | sed -n "$(($1 + 1))p" |
        tr a-z. A-Z_ | sed 's/^/HAKMEM_/'
}
knobs=$(grep -c '^KNOB(' "$HAK_SRC/abi/knobs.def")

# ---- What stands where ------------------------------------------------------------------------

start threads=3
screen_open 80x24 "$hakstat" -p "$pid"
sees "hakstat fixture_segment pid $pid up 0:00:0" 'the title: name, pid, time up'
sees 'threads 3 generation 0 applied by 3/3 L0 - FastCache - slow -' \
    'threads, generation, shares; 0/0 is -'
sees 'live 60.7 MiB in 7824 blocks cached 27.8 MiB mapped 0 B' 'live, cached, mapped'
sees 'SuperSlabs 7+2 LRU' 'SuperSlabs'
sees 'CLASS UP TO ALLOCS/S FREES/S L0 % FAST % SLOW % LIVE BYTES L0 FAST SLOW' 'classes: the heads'
sees 'C0 8 0 0 - - - 156 1248' 'classes: no rate where nothing happens'

type_keys c
does cumulative
sees 'since start every 1 s' 'c: counts since the start'
sees 'CLASS UP TO ALLOCS FREES L0 %' 'c: the heads say so'
sees 'C0 8 360 204 16.7 50.0 33.3 156 1248 ██▓▓▓▓▓▓░░░░' 'c: C0 and its bar'
sees 'C3 64 720 408 16.7 50.0 33.3 312 17.1K' 'C3 has two bins'
sees 'huge - 18 6 0.0 0.0 100.0 12 11.4M ░░░░░░░░░░░░' 'huge'
sees 'total - 18036 10212 16.6 49.9 33.5 7824 60.7M' 'the total'

type_keys 0
does reset
sees 'since reset' '0: counts from now on'
sees 'C0 8 0 0 - - - 156 1248' '0: nothing has happened since'

type_keys c
sees 'ALLOCS/S' 'c again: rates'
type_keys 2
sees '[2 threads]' '2: threads'
type_keys c
sees "TID NAME STATE ALLOCS FREES L0 % FAST % SLOW % CACHED GEN" 'threads: the heads'
sees "$pid fixture_se idle 0 0" 'threads: the first, with its name'
type_keys c 3
sees 'superslabs_created 12 0 SuperSlabs mapped since the start.' '3: counters of the process'
sees 'SuperSlabs: 7 in use, 2 empty in the LRU, 11 at most' 'superslabs: the summary'
sees '███████▓▓░░' 'superslabs: a cell each'
type_keys 4
sees 'tiny.heap_v2.class_mask 0xFF 0xFF 0x0..0xFF live default' '4: knobs'
type_keys 6
sees 'The trace ring is off. Set trace.ring to 1 on the knobs screen (4)' '6: events, and how to have some'
type_keys 1
does screen
sees '[1 classes]' '1: classes'
screen_close

screen_open 80x24 "$hakstat" -p "$pid" --cumulative -s latencies
sees 'refill 120 64ns 64ns 2.0us 2.0us 2.0us' '-s latencies --cumulative: refill'
sees '< 64ns 114 ██████' 'latencies: the histogram of the chosen path'
sees '< 2.0us 6 ███···' 'latencies: its slow end'
type_keys Down
sees 'drain did not happen' 'latencies: the next path'

# ---- Keys -------------------------------------------------------------------------------------

type_keys Tab
sees '[6 events]' 'Tab: the next screen'
type_keys Tab
sees '[1 classes]' 'Tab: round'
does next
type_keys BTab
sees '[6 events]' 'Shift-Tab: back'
does previous

type_keys 4
sees "$(knob_env 0) or HAKMEM_TINY_HEAP_V2" 'knobs: the detail of the first'
type_keys Down; sees "$(knob_env 1)" 'Down'
type_keys j; sees "$(knob_env 2)" 'j'
does down
type_keys Up; sees "$(knob_env 1)" 'Up'
type_keys k; sees "$(knob_env 0) or" 'k'
does up
type_keys NPage; sees "$(knob_env 13)" 'PgDn: a page of 13 rows'
does page_down
type_keys PPage; sees "$(knob_env 0) or" 'PgUp'
does page_up
type_keys End; sees "$(knob_env $((knobs - 1)))" 'End'
type_keys g; sees "$(knob_env 0) or" 'g'
type_keys G; sees "$(knob_env $((knobs - 1)))" 'G'
does end
type_keys Home; sees "$(knob_env 0) or" 'Home'
does home

type_keys 1 Home Down Down Down Enter
sees 'bins of C3' 'Enter: a class opens'
sees 'C3 48 360 204 16.7 50.0 33.3 156 7488' 'its first bin'
sees 'total - 720 408 16.7' 'their total'
does enter
type_keys Escape
sees_no 'bins of C3' 'Esc: it closes'
does escape

order_of() { screen | sed -nE 's/^(C[0-7]|mid|large|huge|total) .*/\1/p' | paste -sd' '; }
order_is() { [ "$(order_of)" = "$1" ]; }
in_order() {
    wait_until order_is "$1"
    tap_result $? "$2" || diag "$(order_of)"
}
own='C0 C1 C2 C3 C4 C5 C6 C7 mid large huge total'
in_order "$own" 'classes in their own order'
type_keys '>'
sees 'sorted by CLASS' '>: by the first column'
in_order 'C0 C1 C2 C3 C4 C5 C6 C7 huge large mid total' 'texts from A to Z, the total last'
type_keys F6
sees 'sorted by UP TO' 'F6: by the next column'
in_order 'large mid C7 C6 C5 C4 C3 C2 C1 C0 huge total' 'numbers from high to low, - after them'
does sort_right
type_keys r
in_order 'C0 C1 C2 C3 C4 C5 C6 C7 mid large huge total' 'r: from low to high'
does reverse
type_keys r '<' '<'
sees "in the table's own order" '<: back'
does sort_left
in_order "$own" 'and so they are'

type_keys /
type_text MID
sees 'show rows with: MID' '/: a text is typed'
in_order 'mid total' 'only rows with it, capitals or not'
type_keys BSpace BSpace
in_order 'mid total' 'Backspace: M'
type_text x
in_order 'total' 'none'
type_keys Escape
in_order "$own" 'Esc: all rows'
type_keys /
type_text C1
type_keys Enter
sees "only rows with 'C1'; \\ shows all" 'Enter: it stays'
type_keys 4
sees_no 'tiny.heap_v2.enable' 'and works on other screens'
does filter
type_keys '\' 1
in_order "$own" 'Backslash: all rows again'
does unfilter

type_keys +
sees 'every 2 s' '+'
does slower
type_keys - -
sees 'every 0.5 s' '-'
does faster
for _ in 1 2 3 4 5; do type_keys -; done
sees 'every 0.1 s' '-: no further than 0.1 s'

type_keys h
sees '[help]' 'h: help'
sees '1 to 6 Go to classes, threads, SuperSlabs, knobs, latencies or events.' 'the first key'
type_keys G
sees 'q Leave hakstat.' 'the last key'
type_keys /
type_text pause
type_keys Escape '?'
sees '[1 classes]' '?: and back'
type_keys F1
sees '[help]' 'F1: help'
does help
type_keys Escape
sees '[1 classes]' 'Esc: and back'

type_keys o
sees '[processes]' 'o: processes'
sees "$pid fixture_segment live 3 60.7M 0 - 0" 'with their figures'
first=$pid
start threads=1 busy=1
sees "$pid fixture_segment live 1 " 'a process that has come since'
type_keys /
type_text "$pid"
type_keys Enter
sees_no "GEN $first fixture_segment live" 'the list is filtered like others'
type_keys Enter
sees "pid $pid" 'Enter: watches it'
sees '[1 classes]' 'on the screen that was left'
type_keys '\'
does processes

type_keys p
sees 'PAUSED' 'p: no more samples'
calls() { "$hakctl" -j stats -p "$pid" | jq '.classes[1].allocs'; }
before=$(screen) from=$(calls)
moved() { [ "$(calls)" -gt $((from + 100)) ]; }
ok 'the process goes on' wait_until moved
is "$(screen)" "$before" 'the screen stands still'
type_keys Space
sees_no 'PAUSED' 'Space: goes on'
changed() { [ "$(screen)" != "$before" ]; }
ok 'and the screen moves' wait_until changed
does pause

type_keys 4 Home Down Enter
sees 'tiny.heap_v2.class_mask =' 'Enter on a knob: a value is typed'
type_text 0x0E
type_keys Enter
sees 'tiny.heap_v2.class_mask: 0xFF -> 0xE (generation 1, applied by 1/1 threads, 0 idle)' \
    'it is set, and applied'
is "$("$hakctl" get -n tiny.heap_v2.class_mask -p "$pid")" 0xE 'the process has it'
sees 'tiny.heap_v2.class_mask 0xE 0xFF 0x0..0xFF live' 'the screen has it'
sees 'generation 1 applied by 1/1' 'the head has it'
type_keys Enter
type_text 0x1FF
type_keys Enter
sees 'tiny.heap_v2.class_mask: 0x1FF out of range [0x0, 0xFF]; nothing changed' 'a bad value'
type_keys Enter
type_text 7
type_keys Escape
sees_no 'class_mask =' 'Esc: nothing is set'
type_keys G /
type_text pool.per_class
type_keys Enter Enter
type_text 1
type_keys Enter
sees 'pool.per_class: startup knob; start the process with HAKMEM_POOL_PER_CLASS=...; nothing changed' 'a startup knob'
is "$("$hakctl" get -n tiny.heap_v2.class_mask pool.per_class -p "$pid" | paste -sd' ')" '0xE 0' 'neither was'

type_keys q
sees 'exit 0' 'q: leaves'
does quit

"$hakstat" -j -n 30 -d 0.02 -p "$pid" --record "$tmp/recording" >"$tmp/live"
screen_open 80x24 "$hakstat" --replay "$tmp/recording" --cumulative -d 0.5
sees "fixture_segment pid $pid" '--replay: the process'
sees 'REPLAY 3/31' 'it goes on by itself'
type_keys p
sees '/31 PAUSED' 'it can be paused'
type_keys [
sees 'REPLAY 1/31' '[: to the first sample'
type_keys . .
sees 'REPLAY 3/31' '.: one sample forward'
# Sample 0 is the base of the first line that was printed.
recorded() { sed -n "$1p" "$tmp/live" | jq -r '"\(.live) blocks"'; }
sees "in $(recorded 2)" 'with its figures'
type_keys ,
sees 'REPLAY 2/31' ',: one sample back'
type_keys Right Right
sees 'REPLAY 22/31' 'Right: ten forward'
type_keys Left
sees 'REPLAY 12/31' 'Left: ten back'
type_keys ]
sees 'REPLAY 31/31' ']: to the last sample'
type_keys Right
sees 'REPLAY 31/31' 'and no further'
does seek; does seek_far; does seek_end
type_keys 4 Enter
sees 'a recording: knobs are only shown' 'no knob is set'
type_keys o Enter
sees 'a recording shows its own processes' 'no other process is chosen'
type_keys q
sees 'exit 0' 'q: leaves a recording'
is "$(tr ' ' '\n' <<<"${did# }" | sort)" \
    "$(sed -nE 's/^KEY\(([a-z_]+),.*/\1/p' "$HAK_SRC/hakstat/keys.def" | sort)" \
    'every key of keys.def was typed'

screen_open 80x24 "$hakstat" -p "$pid" --readonly -s knobs
sees '[4 knobs]' '--readonly'
type_keys Enter
sees '--readonly: knobs are only shown' 'Enter says why not'

# ---- Sizes and terminals ----------------------------------------------------------------------

start threads=64
screen_open 60x20 "$hakstat" -p "$pid" --cumulative
sees 'CLASS ALLOCS FREES L0 % FAST % SLOW %' '60x20: the columns that matter'
sees 'C7 499k 283k 16.7 50.0 33.3 mid' '60x20: C7 of 64 threads' 
screen_size 300x60
sees 'REFILLED REMOTE DRAINED L0 HITS FAST HITS SLOW RETURNED IN PLACE' '300x60: every column'
screen_size 10x3
sees 'hakstat' '10x3: does no harm'
screen_size 1x1
screen_size 80x24
sees 'CLASS UP TO ALLOCS FREES L0 % FAST % SLOW % LIVE BYTES L0 FAST SLOW' '80x24 again'
type_keys 2
sees "$pid fixture_se busy" 'a long list of threads'
type_keys G
sees "$((pid + 63)) - busy" 'End scrolls to the last'
screen_size 80x40
sees "$((pid + 40)) - busy" 'a taller terminal shows more of it'

plain() { in_tmux capture-pane -pe; }
screen_open 80x24 "$hakstat" -p "$pid" --cumulative --ascii
sees 'C1 16 125k 70720 16.7 50.0 33.3 54080 845K ##======!!!!' '--ascii: bars of ASCII'
is "$(screen | LC_ALL=C grep -c '[^ -~]')" 0 'and nothing else'
screen_open 80x24 env LC_ALL=C "$hakstat" -p "$pid" --cumulative
sees '##======!!!!' 'likewise in a locale without UTF-8'
screen_open 80x24 env "$hakstat" -p "$pid" --cumulative
sees 'total' 'colours'
like "$(plain)" $'\e\\[38;5;34m' 'L0 has a colour of 256'
for off in NO_COLOR=1 TERM=vt220; do
    screen_open 80x24 env "$off" "$hakstat" -p "$pid" --cumulative
    sees '██▓▓▓▓▓▓░░░░' "$off: the bar"
    unlike "$(plain)" $'\e\\[[0-9;]*3[0-8]' "$off: no colour"
done
screen_open 80x24 env TERM=no-such-terminal "$hakstat" -p "$pid"
sees "hakstat: cannot use a terminal of type 'no-such-terminal'; set TERM, or use -b" 'an unknown terminal'
sees 'exit 1' 'exit code 1'

# ---- Ends -------------------------------------------------------------------------------------

# The terminal is as it was: settings, screen, cursor.
restored() {
    wait_until test -s "$tmp/after"
    is "$(cat "$tmp/after")|$(in_tmux display -p '#{alternate_on} #{cursor_flag}')" \
        "$(cat "$tmp/before")|0 1" "$1: the terminal is as it was"
}
for signal in INT:130 TERM:143 HUP:129 QUIT:131 SEGV:139 ABRT:134; do
    screen_open 80x24 "$hakstat" -p "$pid"
    sees '[1 classes]' "SIG${signal%:*}: hakstat runs"
    pkill -"${signal%:*}" -x hakstat
    sees "exit ${signal#*:}" "SIG${signal%:*}: it ends by it"
    restored "SIG${signal%:*}"
done
screen_open 80x24 "$hakstat" -p "$pid"
sees '[1 classes]' 'Ctrl-C: hakstat runs'
type_keys C-c
sees 'exit 130' 'Ctrl-C ends it'
restored 'Ctrl-C'

screen_open 80x24 "$hakstat" -p "$pid" -d 0.1
sees '[1 classes]' 'a process that will die'
stop "$pid"
sees "pid $pid: the process has ended; these are its last figures" 'its end is on the screen'
sees 'ENDED' 'and in the title'
sees 'threads 64' 'its last figures stay'
type_keys 4 Enter
sees 'the process has ended; nothing changed' 'no knob is set any more'
type_keys q
sees "hakstat: pid $pid: the process has ended" 'and the line stays after q'
sees 'exit 3' 'exit code 3'
restored 'the end of the process'

start threads=3
screen_open 80x24 "$hakstat" -p "$pid" -d 0.1
sees '[1 classes]' 'a segment that will be cut off'
truncate -s 5000 /dev/shm/hakmem."$pid".*
sees "its segment was cut off; these are its last figures" 'is said so'
type_keys 2 3 4 5 6 1
sees '[1 classes]' 'and harms nothing'
type_keys q
sees 'exit 1' 'q leaves as ever'
restored 'a segment cut off'
stop "$pid"

stop "${tap_pids[@]}" 2>/dev/null
screen_open 80x24 "$hakstat" --follow 'fix*'
sees "Waiting for a process named 'fix*'." '--follow: waits'
type_keys h Down 4 Enter 1 Enter 0 c '>' o Enter 2
sees "[2 threads]" 'no key does harm meanwhile'
start threads=2
sees "now pid $pid, fixture_segment" 'there it is'
sees 'threads 2 generation 0' 'with its figures'
stop "$pid"
sees 'ENDED' 'and gone'
start threads=4
sees "now pid $pid, fixture_segment" 'the next one'
sees 'threads 4 generation 0' 'is another'
type_keys q
sees 'exit 0' 'q leaves'
stop "$pid"

for what in magic knobs_many stats_many bins_off class_size slots_max used seq offsets strings; do
    start corrupt=$what
    screen_open 80x24 "$hakstat" -p "$pid" -d 0.1
    started() { screen_has 'exit 1' || screen_has '[1 classes]'; }
    ok "corrupt=$what: an error or a screen" wait_until started
    if ! screen_has 'exit'; then
        type_keys 2 3 4 5 6 1
        sees '[1 classes]' "corrupt=$what: all screens"
        type_keys q
    fi
    wait_until test -s "$tmp/after"
    like "$(screen)" 'exit [01]' "corrupt=$what: no crash"
    stop "$pid"
done

# No invalid access, nothing uninitialised, no block lost, on any screen.
need valgrind valgrind
start threads=8 busy=2
screen_open 80x24 valgrind -q --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=9 \
    --log-file="$tmp/valgrind" "$hakstat" -p "$pid" -d 0.2
sees '[1 classes]' 'under valgrind'
for key in c 0 2 3 4 5 6 h h o; do
    type_keys "$key" Down
    wait_until screen_has '['
done
sees "$pid fixture_segment live 8" 'under valgrind: processes'
type_keys / f Enter Escape 1 Enter '>' r q
sees 'exit 0' 'valgrind has nothing to say' || diag "$(cat "$tmp/valgrind")"
done_testing
