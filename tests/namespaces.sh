# namespaces.sh: processes under the library in pid, mount and user namespaces of their own, and tools
# that look from outside, from inside, and through a /proc that hides others' processes.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
need /usr/bin/python3 python3
need setpriv util-linux
need jq jq

mask=tiny.heap_v2.class_mask
mask_default=$(sed -nE 's/^KNOB\(heap_v2_class_mask,.* (0x[0-9A-F]+), "",$/\1/p' "$HAK_SRC/abi/knobs.def")
run() {
    out=$("$@" 2>"$tmp/err")
    code=$?
    err=$(cat "$tmp/err")
}
# The build may lie where another user may not go.
chmod 755 "$tmp"
install -m 755 "$lib" "$tmp/libhakmem.so"
install -m 755 "$hakctl" "$tmp/hakctl"
hakctl=$tmp/hakctl

# A program that allocates and frees, 100 times a second a tick's worth.
cat >"$tmp/worker.py" <<'END'
import time
while True:
    for i in range(2100):
        bytes(1000)
    time.sleep(0.01)
END
worker=(env LD_PRELOAD="$tmp/libhakmem.so" /usr/bin/python3 -S "$tmp/worker.py")
contained() { in_background unshare --pid --fork --kill-child "$@" 2>/dev/null; }      # a container's pid 1
inside() { cat "/proc/$1/task/$1/children" | xargs; }       # of an unshare: the container's pid 1, as it is here
end() { kill -KILL "$@"; wait "$@"; } 2>/dev/null
running() { [ "$("$hakctl" ps | grep -c ' running$')" = "$1" ]; }
segments() { (cd /dev/shm && ls); }

# ---- Several that are all pid 1, in one /dev/shm ----

# Until two of them have started in the same hundredth of a second, which is part of their names.
for try in {1..20}; do
    outer=()
    for i in 1 2 3 4; do
        contained "${worker[@]}"
        outer+=($!)
    done
    wait_until running 4 || bail "not four: $("$hakctl" ps)"
    segments | grep -q '\.1\.[0-9]*\.1$' && break
    end "${outer[@]}"
    wait_until running 0
    rm -f /dev/shm/*
done
pids=()
for o in "${outer[@]}"; do pids+=($(inside $o)); done
is "$(segments | grep -vc '^hakmem\.1\.[0-9]*\(\.[1-7]\)\?$')" 0 'four processes that are pid 1, by their names'
ok "two of the same name but for a suffix, after $try tries" eval 'segments | grep -q "\.1$"'
is "$("$hakctl" ps | awk 'NR > 1 { print $1, $2, $NF }' | sort)" \
    "$(printf '%s python3 running\n' "${pids[@]}" | sort)" 'ps: each by the pid that it has here'
run "$hakctl" get $mask
is "$code|$err" "2|hakctl: 4 processes under libhakmem; choose with -p PID:$(printf '%s\n' "${pids[@]}" | sort -n |
    sed 's/.*/ & (python3)/' | paste -sd,)" 'without -p they are listed'
for i in 0 1 2 3; do
    run "$hakctl" -p ${pids[i]} set $mask=$((i + 1))
    is "$code|$out" "0|$mask: $mask_default -> 0x$((i + 1)) (generation 1, applied by 1/1 threads, 0 idle)" "set on number $i"
done
is "$(for p in "${pids[@]}"; do "$hakctl" -p $p get -n $mask; done | xargs)" '0x1 0x2 0x3 0x4' 'each has its own value'
is "$(for p in "${pids[@]}"; do "$hakctl" -p $p -j stats | jq .pid; done | xargs)" "${pids[*]}" 'and its own statistics'
run "$hakctl" -a set -q tiny.bump_chunk=7
is "$code|$("$hakctl" -a get -n tiny.bump_chunk | grep -c '^7$')" '0|4' 'set -a: all four'

# ---- Seen from inside ----

# The first of them starts a tool beside itself, in a /proc of their own.
look_inside() { nsenter -t "${pids[0]}" --pid unshare --mount sh -c 'mount -t proc proc /proc && exec "$@"' sh "$hakctl" "$@"; }
run look_inside ps
is "$code|$(awk 'NR > 1 { print $1, $NF }' <<<"$out" | sort)" $'0|- running\n- running\n- running\n1 running' \
    'inside: itself by its pid, the others without one'
run look_inside get -n $mask
is "$code|$out" '0|0x1' 'the one that has a pid there is meant'
run look_inside -p 1 set -q $mask=0x9
is "$code|$("$hakctl" -p ${pids[0]} get -n $mask)" '0|0x9' 'and can be set'
run look_inside gc
is "$code|$out|$(segments | wc -l)" '0||4' 'gc from inside removes nothing that lives elsewhere'
run look_inside stats -p ${pids[1]}
is "$code|$err" "3|hakctl: pid ${pids[1]}: no such process" 'pids from outside mean nothing there'

# ---- One of them dies ----

kill -KILL ${pids[1]}
wait_until running 3
run "$hakctl" gc
like "$code|$out" '^0\|removed hakmem\.1\.[0-9.]+ \(python3\)$' 'one is killed: gc removes its segment'
is "$(segments | wc -l)" 3 'and no other'
is "$(for p in ${pids[0]} ${pids[2]} ${pids[3]}; do "$hakctl" -p $p get -n $mask; done | xargs)" '0x9 0x3 0x4' \
    'the others are there'
run "$hakctl" -p ${pids[1]} get $mask
is "$code|$err" "3|hakctl: pid ${pids[1]}: no such process" 'it is not mistaken for another pid 1'
end "${outer[@]}"
wait_until running 0
rm -f /dev/shm/*

# ---- A /dev/shm of its own, and one that leads astray ----

contained --mount sh -c 'mount -t tmpfs tmpfs /dev/shm && exec "$@"' sh "${worker[@]}"
container=$!
wait_until running 1
pid=$(inside $container)
is "$(segments)" '' 'a container with a /dev/shm of its own'
run "$hakctl" set $mask=0x3
is "$code|$out" "0|$mask: $mask_default -> 0x3 (generation 1, applied by 1/1 threads, 0 idle)" 'is found through /proc and set'
mkdir -p "$tmp/bait" "$tmp/jail/dev"
cp "/proc/$pid/root/dev/shm/"hakmem.1.* "$tmp/bait/hakmem.1.77"
ln -s "../../../../../..$tmp/bait" "$tmp/jail/dev/shm"
in_background /usr/bin/python3 -c 'import os, sys, time; os.chroot(sys.argv[1]); os.chdir("/"); time.sleep(600)' "$tmp/jail"
jailed=$!
in_jail() { [ "$(readlink /proc/$jailed/root)" = "$tmp/jail" ]; }
wait_until in_jail
is "$(ls "/proc/$jailed/root/dev/shm/../bait")" hakmem.1.77 'another root, whose /dev/shm is a link that leads out of it'
run "$hakctl" -j ps
is "$code|$(jq '.processes | length' <<<"$out")" '0|1' 'nothing outside of that root is taken for its own'
end $jailed $container
wait_until running 0

# ---- Users ----

if ! grep -q ' 4294967295$' /proc/self/uid_map; then
    skip 'users and their namespaces' 'only one uid in this user namespace'
    done_testing
fi
as() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }
chmod 1777 /dev/shm
in_background setpriv --reuid 65533 --regid 65533 --clear-groups "${worker[@]}"
theirs=$!
wait_until running 1
run "$hakctl" -p $theirs set $mask=0x1
is "$code|$out" "0|$mask: $mask_default -> 0x1 (generation 1, applied by 1/1 threads, 0 idle)" "root sets another user's process"
run as 65533 "$hakctl" set $mask=0x2
is "$code|$out" "0|$mask: 0x1 -> 0x2 (generation 2, applied by 1/1 threads, 0 idle)" 'so does that user'
run as 65534 "$hakctl" -p $theirs set $mask=0x3
is "$code|$err" "4|hakctl: pid $theirs: permission denied: its segment is of user 65533" 'a third may not'
in_background setpriv --reuid 65534 --regid 65534 --clear-groups "${worker[@]}"
own=$!
wait_until running 2
run as 65534 "$hakctl" get -n $mask
is "$code|$out" "0|$mask_default" 'who may read one of them need not choose'

# A /proc that shows nobody but root the processes of others.
if said=$(mount -o remount,hidepid=2 /proc 2>&1); then
    run as 65534 "$hakctl" ps
    like "$code|$out" "^0\|.* $own python3 .* running.* $theirs \? .* unreadable: permission denied|^0\|.* $theirs \? .* unreadable: permission denied.* $own python3 .* running" \
        'hidepid: ps shows the own process, and that there is another'
    run as 65534 "$hakctl" set -p $theirs $mask=0x3
    is "$code|$err" "4|hakctl: pid $theirs: permission denied: its segment is of user 65533" "hidepid: another's is no business of ours; it is not said to be dead"
    run as 65534 "$hakctl" set -q $mask=0x3
    is "$code|$("$hakctl" -p $own get -n $mask)" '0|0x3' 'hidepid: the own one is set'
    run as 65534 "$hakctl" gc
    is "$code|$out|$(segments | wc -l)" '0||2' 'hidepid: nothing is taken for dead'
    run "$hakctl" ps
    is "$code|$(grep -c ' running$' <<<"$out")" '0|2' 'root sees both'
    mount -o remount,hidepid=0 /proc
else
    skip 'hidepid' "$said"
fi
end $own $theirs
wait_until running 0
rm -f /dev/shm/*

# A user's own container: root inside, 65534 outside.
if ! said=$(as 65534 unshare --user --map-root-user --pid --fork true 2>&1); then
    skip 'user namespaces' "$said"
    done_testing
fi
in_background setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user --pid --fork --kill-child "${worker[@]}"
container=$!
wait_until running 1
pid=$(inside $container)
run "$hakctl" set $mask=0x5
is "$code|$out" "0|$mask: $mask_default -> 0x5 (generation 1, applied by 1/1 threads, 0 idle)" "root sets a process in a user's own container"
run as 65534 "$hakctl" -p $pid set $mask=0x6
is "$code|$out" "0|$mask: 0x5 -> 0x6 (generation 2, applied by 1/1 threads, 0 idle)" 'so does that user, from outside'
run as 65533 "$hakctl" -p $pid get $mask
is "$code|$out" '3|' 'and no other: whose it is can not even be told'
run as 65534 nsenter -t $pid --user --preserve-credentials "$hakctl" get -n $mask
is "$code|$out" '0|0x6' 'a tool in that user namespace reads it'
done_testing
