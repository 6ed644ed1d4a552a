# puppet.sh: a process under the library that does what a test orders (tests/puppet.c).
#
#   puppet_start [NAME=VALUE…]   start one with these ENV variables; its pid is in $puppet
#   order VERB …                 have an order carried out; its answer is in $answer
#   puppet_end                   let it exit
#   puppet_kill SIGNAL           end it by a signal
#   stats FILE                   what hakctl reads of it now, as JSON
puppet=
puppet_program=$HAK_BUILD/tests/puppet
answer=

puppet_start() {
    coproc PUPPET { exec env "$@" LD_PRELOAD="$lib" "$puppet_program" 2>"$tmp/puppet.err"; }
    puppet=$PUPPET_PID
    tap_pids+=("$puppet")
    exec {to_puppet}>&"${PUPPET[1]}" {from_puppet}<&"${PUPPET[0]}"
    read -r answer <&"$from_puppet" || bail "the puppet does not start: $(cat "$tmp/puppet.err")"
}

order() {
    echo "$*" >&"$to_puppet"
    read -r -t 60 answer <&"$from_puppet" || bail "no answer to the order: $*"
    case $answer in
        unknown*|'no such'*) bail "order $*: $answer" ;;
    esac
}

puppet_gone() {
    exec {to_puppet}>&- {from_puppet}<&-
    { wait "$puppet"; } 2>/dev/null
}
puppet_end() {
    echo quit >&"$to_puppet"
    puppet_gone
}
puppet_kill() {
    kill -"$1" "$puppet"
    puppet_gone
}

stats() { "$hakctl" -j stats -p "$puppet" >"$1" || bail "hakctl stats: $(cat "$1")"; }
