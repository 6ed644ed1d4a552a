# caller.sh: processes that make a known number of calls (tests/calls.c), and hakprobe, which counts them.
# Where the kernel lets no one count, the test that sources it is skipped.
hakprobe=$HAK_BUILD/probes/hakprobe

# caller NAME: starts tests/calls under the library, stopped before its exec; its pid is in $NAME.  It
# keeps no huge mapping that was freed, so that each one is a system call.
# go NAME lets it run; tell NAME ORDER… has an order carried out: its answer is in $answer.
caller() {
    local name=$1
    mkfifo "$tmp/$name.in" "$tmp/$name.out"
    exec {fd}<>"$tmp/$name.in"          # both ways: no opening of it waits
    printf -v "to_$name" %d $fd
    exec {fd}<>"$tmp/$name.out"
    printf -v "from_$name" %d $fd
    bash -c 'kill -STOP $$; exec env HAKMEM_OS_HUGE_CACHE=0 LD_PRELOAD="$0" "$1"' "$lib" \
        "$HAK_BUILD/tests/calls" <"$tmp/$name.in" >"$tmp/$name.out" 2>"$tmp/$name.err" &
    tap_pids+=($!)
    printf -v "$name" %d $!
}
stopped() { grep -q '^State:.T' "/proc/$1/status"; }
answer_of() {
    local from=from_$1
    read -r -t 60 _ answer <&"${!from}" || bail "no answer of $1: $(cat "$tmp/$1.err")"
}
go() { kill -CONT "${!1}"; answer_of "$1"; }
tell() { local to=to_$1; echo "${*:2}" >&"${!to}"; answer_of "$1"; }
dismiss() { local to=to_$1; echo quit >&"${!to}"; wait "${!1}"; }

# probe FILE OPTION…: hakprobe in the background, counting when this returns; probe_end ends it, and FILE
# has its JSON.
probe() {
    local file=$1
    shift
    in_background "$hakprobe" -j -d 86400 "$@" >"$file" 2>"$file.err"
    prober=$!
    wait_until eval "grep -q counting '$file.err' || ! kill -0 $prober" || bail 'hakprobe does not start'
    kill -0 "$prober" 2>/dev/null || diag "$(cat "$file" "$file.err")"
}
probe_end() { kill -INT "$prober"; wait "$prober"; }

# counted FILE PID CALL WHOSE FIELD
counted() {
    jq --argjson pid "$2" --arg call "$3" --arg whose "$4" \
        "[.processes[] | select(.pid == \$pid) | .calls[] | select(.call == \$call and .whose == \$whose) | .$5]
         | add // 0" "$1"
}
all_counted() { jq --argjson pid "$2" --arg call "$3" \
    "[.processes[] | select(.pid == \$pid) | .calls[] | select(.call == \$call) | .$4] | add // 0" "$1"; }
lost() { jq -c '.lost' "$1"; }
nothing_lost='{"in-flight":0,"process":0,"counts":0,"waits":0,"missed":0}'

said=$("$hakprobe" --check 2>&1)
status=$?
if [ $status = 4 ] || [[ $said == *'no BTF of the running'* || $said == *'has no tracepoint'* ]]; then
    skip 'hakprobe counts' "hakprobe --check: ${said##*$'\n'}"
    done_testing
fi
is $status 0 'hakprobe --check: all of it works' || { diag "$said"; done_testing; }
is "$(grep -c ' yes ' <<<"$said")" 4 'and it says so of each part' || diag "$said"
