# hakstat_hangup.sh: a terminal that goes away ends hakstat; it neither stays nor spins.
. "$(dirname "$0")/tap.sh"
need python3 python3

in_background "$HAK_BUILD/tests/fixture_segment" >"$tmp/pid"
wait_until test -s "$tmp/pid"

# hakstat on a terminal of its own, whose other end is closed once there is a screen.  What SIGHUP
# alone would do is not asked: it is ignored here.
out=$(python3 - "$hakstat" "$(cat "$tmp/pid")" <<'PY'
import os, pty, signal, sys, time
pid, master = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(sys.argv[1], [sys.argv[1], "-p", sys.argv[2]])
seen = b""
while len(seen) < 200:
    seen += os.read(master, 4096)
os.close(master)
for _ in range(1500):
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        print("ended", "by signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status)
              else "with %d" % os.WEXITSTATUS(status))
        break
    time.sleep(0.02)
else:
    os.kill(pid, signal.SIGKILL)
    print("still there")
PY
)
like "$out" '^ended by signal 1$' 'a terminal that is hung up ends hakstat as SIGHUP does'
done_testing
