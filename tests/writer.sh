# writer.sh: a writer of knobs, one of several at one time.
#
#   writer NUMBER FIRST SECOND TOP   $rounds times sets two knobs of the only process to one of TOP
#                                    values, in one set, every eighth time killing hakctl in the middle;
#                                    leaves in $tmp/writer.NUMBER how many sets were done, how many
#                                    were killed, and the last value
writer() {
    local first=$2 second=$3 top=$4 value=1 done=0 killed=0 round
    RANDOM=$1
    for ((round = 1; round <= rounds; round++)); do
        value=$((round % top + (top > 2)))
        if ((round % 8 == 0)); then
            "$hakctl" set -q --no-wait $first=$value $second=$value &
            sleep 0.00$((RANDOM % 10))
            kill -KILL $! 2>/dev/null
            wait $! 2>/dev/null
            killed=$((killed + 1))
        else
            "$hakctl" set -q --no-wait $first=$value $second=$value || exit
            done=$((done + 1))
        fi
    done
    "$hakctl" set -q --wait 60 $first=$value $second=$value || exit
    echo "$((done + 1)) $killed $value" >"$tmp/writer.$1"
}
