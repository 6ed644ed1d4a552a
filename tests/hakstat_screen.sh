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
sees 'live 61.6 MiB cached 28.3 MiB mapped 0 B RSS ' 'live, cached, mapped, resident'
sees 'purged 0 B' 'purged'
sees 'SuperSlabs 7+2 LRU mmap 0/s munmap 0/s futex 0/s by own counters' 'SuperSlabs, system calls, and who counts them'
sees 'CLASS UP TO ALLOCS/S FREES/S L0 % FAST % SLOW % LIVE BYTES WASTE L0 FAST SLOW' 'classes: the heads'
sees 'C0 8 0 0 - - - 156 1248 - C1' 'classes: no rate where nothing happens'

type_keys c
does cumulative
sees 'since start every 1 s' 'c: counts since the start'
sees 'CLASS UP TO ALLOCS FREES L0 %' 'c: the heads say so'
sees 'C0 8 360 204 16.7 50.0 33.3 156 1248 - ██▓▓▓▓▓▓░░░░' 'c: C0 and its bar'
sees 'C3 64 720 408 16.7 50.0 33.3 312 17.1K ~4368 ██' 'C3 has two bins, and waste that is estimated'
sees 'huge - 18 6 0.0 0.0 100.0 12 11.4M - ░░░░░░░░░░░░' 'huge'
sees 'total - 18756 10620 16.6 49.9 33.5 8136 61.6M ~12.2M' 'the total'

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
sees 'NO USED FULL% SLABS BY CLASS' '3: SuperSlabs'
sees '0 64 50.0 0░░░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ 1 63 50.0' \
    'a slab that nobody has looked at, and some from empty to full'
sees '6 58 55.1 ......░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓█ 7 0' 'free ones'
sees '8 0 - ----------------------------------------------------------------' 'a SuperSlab in the LRU'
sees 'SuperSlabs: 7 in use, 2 empty in the LRU, 11 at most How full' 'superslabs: the summary'
sees '█ C0 64 █ C3 63 █ C4 62 █ C5 61 █ C6 60 █ C7 59 █ mid 58 . free 21 - LRU 128' 'what there is of each class'
type_keys '>' '>' '>' '>' '>'
sees 'sorted by FREE' 'superslabs: sorted'
sees 'SLABS BY CLASS 6 58' 'by free slabs'
type_keys / m Enter
sees_no '5 59' 'superslabs: those with slabs of mid'
type_keys '\' '<' '<' '<' '<' '<' 7
sees 'superslabs_created 12 0 SuperSlabs mapped since the start.' '7: counters of the process'
type_keys End
sees 'Times the thread had to wait for a lock of the allocator.' 'and those of threads'
type_keys Home
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
type_keys Tab Tab Tab
sees '[1 classes]' 'Tab: round'
does next
type_keys BTab BTab BTab
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
type_keys NPage; sees "$(knob_env 12)" 'PgDn: a page of 12 rows'
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
sees '1 to 8 Go to a screen by the number on its tab.' 'the first key'
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
sees "$pid fixture_segment live 3 61.6M 0 - 0" 'with their figures'
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
sees_no 'pool.per_class =' 'a startup knob: nothing is asked'
sees 'pool.per_class: startup knob; start the process with HAKMEM_POOL_PER_CLASS=...; nothing changed' 'but said at once'
is "$("$hakctl" get -n tiny.heap_v2.class_mask pool.per_class -p "$pid" | paste -sd' ')" '0xE 0' 'neither was'

type_keys q
sees 'exit 0' 'q: leaves'
does quit

"$hakstat" -j -n 30 -d 0.02 -p "$pid" --record "$tmp/recording" >"$tmp/live"
screen_open 100x24 "$hakstat" --replay "$tmp/recording" --cumulative -d 0.5
sees "fixture_segment pid $pid" '--replay: the process'
sees 'REPLAY 3/31' 'it goes on by itself'
type_keys p
sees '/31 PAUSED' 'it can be paused'
type_keys [
sees 'REPLAY 1/31' '[: to the first sample'
type_keys . .
sees 'REPLAY 3/31' '.: one sample forward'
# Sample 0 is the base of the first line that was printed.
recorded() { sed -n "$1p" "$tmp/live" | jq -r '"blocks \(.live)"'; }
sees "$(recorded 2)" 'with its figures'
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
type_keys 3
sees '3 0 live 61 3 ' 'the map is recorded too'
type_keys p + 1 [
sees 'every 1 s' '+: a replay that is slower'
sees 'REPLAY 2/31' 'goes on'
type_keys - - - - p
sees 'every 0.1 s' '-: and one that is faster'
type_keys 4 Enter
sees 'a recording: knobs are only shown' 'no knob is set'
type_keys o Enter
sees 'a recording shows its own processes' 'no other process is chosen'
type_keys q
sees 'exit 0' 'q: leaves a recording'
is "$(tr ' ' '\n' <<<"${did# }" | sort)" \
    "$(sed -nE 's/^KEY\(([a-z_]+),.*/\1/p' "$HAK_SRC/hakstat/keys.def" | sort)" \
    'every key of keys.def was typed'

screen_open 80x24 "$hakstat" -s threads
sees '[processes]' 'several processes and no -p: they are listed'
sees "$first fixture_segment live 3 61.6M 0 - 0" 'by pid, name, threads, bytes live, rate, L0 share, generation'
type_keys /
type_text "$pid"
type_keys Enter Enter
sees '[2 threads]' 'Enter: watches it on the screen that was asked for'
sees "pid $pid" 'it and no other'

screen_open 80x24 "$hakstat" -p "$pid" --readonly -s knobs
sees '[4 knobs]' '--readonly'
type_keys Enter
sees '--readonly: knobs are only shown' 'Enter says why not'
# The number of walks asked for, in the control page (docs/segment-abi.md).
walks() {
    local segment=(/dev/shm/hakmem."$pid".*) control
    control=$(od -An -tu4 -j 184 -N 4 "${segment[0]}")
    od -An -tu8 -j $((control + 1600)) -N 8 "${segment[0]}" | tr -d ' '
}
asked=$(walks)
type_keys 3 - - -
sees '[3 superslabs]' '--readonly: the map'
sleep 1
is "$(walks)" "$asked" 'and no thread is asked to look at its slabs'
screen_open 80x24 "$hakstat" -p "$pid" -d 0.1
sees '[1 classes]' 'without it'
is "$(walks)" "$asked" 'none is asked on other screens'
type_keys 3
more() { [ "$(walks)" -gt $((asked + 2)) ]; }
ok 'but while the map is shown' wait_until more

# ---- Sizes and terminals ----------------------------------------------------------------------

start threads=64
screen_open 60x20 "$hakstat" -p "$pid" --cumulative
sees 'CLASS UP TO ALLOCS FREES L0 % FAST % SLOW % LIVE BYTES C0' '60x20: the columns that matter'
sees 'C7 1024 499k 283k 16.7 50.0 33.3 216k 172M mid' '60x20: C7 of 64 threads'
type_keys 3
sees '6 ......░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓> SuperSlabs: 7 in use' '60x20: the map, cut off'
screen_size 69x20
sees '6 ......░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓█ SuperSlabs: 7 in use' '69x20: all of it'
screen_size 100x26
sees 'NO FROM STATE USED FREE FULL% SLABS BY CLASS 0 0 live 64 0 50.0 0░' '100x26: with all columns'
sees '8 0 LRU 0 0 - ---' '100x26: one in the LRU'
type_keys 1
screen_size 300x60
sees 'REFILLED REMOTE DRAINED L0 HITS FAST HITS SLOW RETURNED IN PLACE' '300x60: every column'
screen_size 10x3
sees 'hakstat' '10x3: does no harm'
screen_size 1x1
screen_size 80x24
sees 'CLASS UP TO ALLOCS FREES L0 % FAST % SLOW % LIVE BYTES WASTE L0 FAST SLOW' '80x24 again'
type_keys 2
sees "$pid fixture_se busy" 'a long list of threads'
type_keys G
sees "$((pid + 63)) - busy" 'End scrolls to the last'
screen_size 80x40
sees "$((pid + 40)) - busy" 'a taller terminal shows more of it'

plain() { in_tmux capture-pane -pe; }
screen_open 80x24 "$hakstat" -p "$pid" --cumulative --ascii
sees 'C1 16 125k 70720 16.7 50.0 33.3 54080 845K ~211K ##======!!!!' '--ascii: bars of ASCII'
is "$(screen | LC_ALL=C grep -c '[^ -~]')" 0 'and nothing else'
screen_open 80x24 env LC_ALL=C "$hakstat" -p "$pid" --cumulative
sees '##======!!!!' 'likewise in a locale without UTF-8'
screen_open 80x24 env "$hakstat" -p "$pid" --cumulative
sees 'total' 'colours'
like "$(plain)" $'\e\\[38;5;34m' 'L0 has a colour of 256'
type_keys 3
sees '[3 superslabs]' 'the map'
like "$(plain)" $'\e\\[38;5;160m[^A-Z]*░░.*\e\\[38;5;204m░' 'a class, a colour'
screen_open 80x24 env TERM=screen "$hakstat" -p "$pid" --cumulative -s superslabs
sees '6 58' 'eight colours'
like "$(plain)" $'\e\\[31m[^A-Z]*░░.*\e\\[0;1m[^A-Z]*\e\\[35m[^A-Z]*░' 'one for C0, a bold one for mid'
unlike "$(plain)" $'\e\\[38;5' 'and no others'
for off in NO_COLOR=1 TERM=vt220; do
    screen_open 80x24 env "$off" "$hakstat" -p "$pid" --cumulative
    sees '██▓▓▓▓▓▓░░░░' "$off: the bar"
    type_keys 3
    sees '2 62 51.2 ..44444444444444444444444444444444444444444444444444444444444444' "$off: the map has the letters of the classes"
    sees 'The letter of its class, in bold if it was half full.' "$off: and says so"
    like "$(plain)" $'[.][^A-Z]*444+\e\\[1m444' "$off: bold from half full on"
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
for signal in INT:130 TERM:143 HUP:129 QUIT:131 SEGV:139 ABRT:134 BUS:135; do
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
screen_open 80x24 env PS1='> ' bash --norc --noprofile -i
type_text "$hakstat -p $pid"
type_keys Enter
sees '[1 classes]' 'Ctrl-Z: hakstat runs in a shell'
type_keys C-z
sees 'Stopped' 'it is stopped'
is "$(in_tmux display -p '#{alternate_on} #{cursor_flag}')" '0 1' 'and its screen is gone'
type_text fg
type_keys Enter
sees '[1 classes]' 'fg: it is there again'
type_keys q
sees '> ' 'q leaves'

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
type_keys 2 3 4 5 6 7 1
sees '[1 classes]' 'and harms nothing'
type_keys q
sees 'exit 1' 'q leaves as ever'
restored 'a segment cut off'
stop "$pid"

# Every byte of it is spoiled while it is watched, again and again: whatever is shown, hakstat goes on.
start threads=3
screen_open 80x24 "$hakstat" -p "$pid" -d 0.1
sees '[1 classes]' 'a segment that will be overwritten'
segment=$(echo /dev/shm/hakmem."$pid".*)
size=$(stat -c %s "$segment")
for key in 1 2 3 4 5 6 7 c 0 1; do
    head -c "$size" /dev/urandom | dd of="$segment" conv=notrunc status=none
    type_keys "$key"
    wait_until screen_has '['
done
type_keys h
sees '[help]' 'harms nothing, on any screen'
type_keys q
wait_until test -s "$tmp/after"
like "$(screen)" 'exit [013]' 'q leaves as ever'
restored 'a segment overwritten'
stop "$pid"

start superslabs=500
screen_open 80x24 "$hakstat" -p "$pid" -s superslabs
sees 'SuperSlabs: 500 in use, 2 empty in the LRU, 11 at most; 493 are not on the map' \
    'more SuperSlabs than cells: it says so'
stop "$pid"
start corrupt=map_today
screen_open 80x24 "$hakstat" -p "$pid" -s superslabs
sees 'NO USED FULL% SLABS BY CLASS 0 64 50.0 0░░░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ 0 63 50.0 .░░░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ 1 62' \
    '128 slabs in a SuperSlab: two rows of 64 each, in 80 columns'
sees '2 59 53.9 .....░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ 3 0 - ---------------------------------------------------------------- 3 0 - ---------------------------------------------------------------- SuperSlabs' \
    'one in the LRU too'
sees 'SuperSlabs: 3 in use, 1 empty in the LRU, 11 at most How full' 'but they are counted as one'
sees '█ C0 64 █ C3 63 █ C4 62 █ C5 61 █ C6 60 █ C7 59 . free 15 - LRU 128' 'and their slabs one by one'
chosen_is() { [[ $(plain | grep $'\e\\[7m' | tail -1 | sed 's/\x1b\[[0-9;]*m//g' | tr -s ' ') == "$1"* ]]; }
type_keys Down
ok 'Down: the second row of the first SuperSlab' wait_until chosen_is ' 0 63 50.0 .░'
type_keys Down
ok 'Down: the first of the next' wait_until chosen_is ' 1 62 51.2 ..░'
screen_size 95x24
sees 'NO STATE USED FREE FULL% SLABS BY CLASS 0 live 64 0 50.0 0░' '95 columns: all columns but FROM'
screen_size 96x24
sees 'NO FROM STATE USED FREE FULL% SLABS BY CLASS 0 0 live 64 0 50.0 0░░░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ 0 64 live 63 1 50.0 .░░░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ 1 0 live' \
    '96 columns: the first slab of a row as well'
sees '2 64 live 59 5 53.9 .....░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ 3 0 LRU 0 0 - ---------------------------------------------------------------- 3 64 LRU 0 0 - ---------------------------------------------------------------- SuperSlabs' \
    'down to the last row'
stop "$pid"
start corrupt=map_older
screen_open 80x24 "$hakstat" -p "$pid" -s superslabs
sees '3 29 26.8 ...░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒ 4 28' 'an older library, with 32 slabs in a SuperSlab: as many cells'
sees '. free 21 - LRU 64' 'and no more of them are counted'
stop "$pid"
start corrupt=map_empty
screen_open 80x24 "$hakstat" -p "$pid" -s superslabs
sees '/dev/shm was too full for a map of the SuperSlabs; their counters are on screen 7.' \
    'no cells at all: likewise'
stop "$pid"
start corrupt=no_map
screen_open 80x24 "$hakstat" -p "$pid" -s superslabs
sees 'The library of this process keeps no map of its SuperSlabs; its counters are on screen 7.' \
    'an older library: likewise'
type_keys 1 c
sees 'C0 8 360 204 16.7 50.0 33.3 156 1248' 'and all else is there'
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
        type_keys 2 3 4 5 6 7 1
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
for key in c 0 2 3 4 5 6 7 h h o; do
    type_keys "$key" Down
    wait_until screen_has '['
done
sees "$pid fixture_segment live 8" 'under valgrind: processes'
type_keys / f Enter Escape 1 Enter '>' r q
sees 'exit 0' 'valgrind has nothing to say' || diag "$(cat "$tmp/valgrind")"
done_testing
