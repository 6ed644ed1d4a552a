# screen.sh: hakstat in a real terminal (tmux), for tests that type keys and read the screen.
#
#   screen_open 80x24 COMMAND…   run a command in a terminal of that size
#   screen_size 60x20            resize it
#   type_keys KEY…               keys by tmux's names (Enter, Tab, PgUp) or one character
#   type_text TEXT               as it is
#   screen                       the screen, with runs of blanks as one
#   sees TEXT DESCRIPTION        one result: TEXT is on the screen, now or within 30 seconds; it
#                                may go over the end of a row
#   sees_no TEXT DESCRIPTION     one result: TEXT has left it
#   screen_close                 end the terminal and what runs in it
#
# When the command has ended, "exit N" stands on the screen, $tmp/before and $tmp/after hold the
# terminal's settings before and after it.
need tmux tmux

screens=0           # a server each: one that ends holds its socket for a while
in_tmux() { tmux -S "$tmp/tmux.$screens" -f /dev/null "$@"; }

screen_open() {
    local size=$1
    shift
    screen_close
    screens=$((screens + 1))
    rm -f "$tmp/before" "$tmp/after"
    printf -v command '%q ' "$@"
    in_tmux -u start-server \; set -g default-terminal screen-256color \; set -g escape-time 0 \; \
        new-session -d -x "${size%x*}" -y "${size#*x}" \
        "bash -c 'trap : INT; stty -g >$tmp/before; echo before; $command; echo exit \$?; stty -g >$tmp/after; read -r'"
}
screen_size() { in_tmux resize-window -x "${1%x*}" -y "${1#*x}"; }
screen_close() { in_tmux kill-server 2>/dev/null; }
type_keys() { in_tmux send-keys "$@"; }
type_text() { in_tmux send-keys -l "$1"; }
screen() { in_tmux capture-pane -p | tr -s ' ' | sed 's/ $//'; }

screen_has() { [[ $(screen | tr -s ' \n' ' ') == *"$1"* ]]; }
screen_has_not() { ! screen_has "$1"; }
sees() {
    wait_until screen_has "$1"
    tap_result $? "$2" || diag "not on the screen: $1"$'\n'"$(screen)"
}
sees_no() {
    wait_until screen_has_not "$1"
    tap_result $? "$2" || diag "still on the screen: $1"$'\n'"$(screen)"
}

trap 'screen_status=$?; screen_close; (exit $screen_status); tap_cleanup' EXIT
