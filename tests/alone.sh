# alone.sh: runs the test that sources it in pid and mount namespaces of its own, with an empty
# /dev/shm, so that no other process under libhakmem is in sight.  Source it before tap.sh.
if [ -z "${HAK_ALONE-}" ]; then
    export HAK_ALONE=1
    as_root=
    [ "$(id -u)" = 0 ] || as_root=-Ur
    namespaces="unshare $as_root --mount --pid --fork --kill-child --mount-proc"
    if ! said=$($namespaces mount -t tmpfs tmpfs /dev/shm 2>&1); then
        printf 'ok 1 - %s # SKIP no namespaces here: %s\n1..1\n' "$(basename "$0")" "$said"
        exit 0
    fi
    exec $namespaces bash -c 'mount -t tmpfs tmpfs /dev/shm && exec bash "$0" "$@"' "$0" "$@"
fi
