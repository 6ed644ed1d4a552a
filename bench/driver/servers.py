"""servers.py: rows in which a server runs under the allocator and its clients do not.

Each takes (arguments, allocator, launcher, places) and returns the seconds that the clients saw and
the figures of the server process.  Server and clients are pinned to different CPUs if there are two.
"""

import csv
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .allocators import Wrong

WAIT = 30               # seconds that a server has to come up
TIMEOUT = 300           # seconds after which a client has failed


def client(launcher, command, **options):
    cpu = launcher.cpus(2)[:1]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT,
                              preexec_fn=lambda: os.sched_setaffinity(0, cpu), **options)
    except subprocess.TimeoutExpired:
        raise Wrong(f"{command[0]}: not done after {TIMEOUT} s") from None
    if done.returncode:
        raise Wrong(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def wait_until(ready, process, what):
    deadline = time.monotonic() + WAIT
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise Wrong(f"{what} did not start: {process.communicate()[1].strip()[-300:]}")
        time.sleep(0.01)


def redis(arguments, allocator, launcher, places):
    program = shutil.which("redis-server") or "redis-server"
    with tempfile.TemporaryDirectory(dir=places["work"]) as directory:
        socket = directory + "/socket"
        cli = ["redis-cli", "-s", socket]
        server = launcher.start([program, "--port", "0", "--unixsocket", socket, "--save", "",
                                 "--dir", directory], allocator, launcher.cpus(1))
        try:
            wait_until(lambda: subprocess.run([*cli, "ping"], capture_output=True, text=True).stdout
                       == "PONG\n", server, "redis-server")
            table = client(launcher, ["redis-benchmark", "-s", socket, "--csv", *arguments])
            requests = int(arguments[arguments.index("-n") + 1])
            rates = [float(row["rps"]) for row in csv.DictReader(table.splitlines())]
            pushed = int(client(launcher, [*cli, "llen", "mylist"]))
            client(launcher, [*cli, "shutdown", "nosave"])
        except Wrong:
            server.kill()               # launch, and the server with it
            raise
        _, figures = launcher.finish(server, program, allocator)
    if pushed != requests:
        raise Wrong(f"redis: {pushed} elements in the list, not {requests}")
    return sum(requests / rate for rate in rates), figures


def postgres_tool(name):
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found and not shutil.which(name):
        raise Wrong(f"{name} is not installed")
    return str(found[-1] if found else Path(shutil.which(name)).resolve())


def postgres_template(directory, user):
    """A fresh database cluster with pgbench's tables, made once, without any preload."""
    if directory.exists():
        return
    making = directory.with_suffix(".new")
    making.mkdir()
    shutil.chown(making, user)
    steps = [[postgres_tool("initdb"), "-D", making, "-A", "trust", "-N"],
             [postgres_tool("pg_ctl"), "-D", making, "-w", "-l", making / "log", "-o",
              f"-F -c listen_addresses='' -k {making}", "start"],
             [postgres_tool("pgbench"), "-h", making, "-i", "-q", "-s", "2", "postgres"],
             [postgres_tool("pg_ctl"), "-D", making, "-w", "stop"]]
    for step in steps:
        done = subprocess.run([str(s) for s in step], user=user, cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            shutil.rmtree(making)
            raise Wrong(f"{step[0]}: {done.stderr.strip()[-300:]}")
    making.rename(directory)


def pgbench(arguments, allocator, launcher, places):
    """The server must not run as root: then it runs as the user postgres."""
    user = "postgres" if os.geteuid() == 0 else None
    work, program = Path(places["work"]), postgres_tool("postgres")
    postgres_template(work / "postgres", user or os.getuid())
    data = work / "postgres.run"
    shutil.rmtree(data, ignore_errors=True)
    subprocess.run(["cp", "-a", work / "postgres", data], check=True)
    server = launcher.start([program, "-D", str(data), "-F", "-c", "listen_addresses=",
                             "-c", "autovacuum=off", "-k", str(data)],
                            allocator, launcher.cpus(2), user=user, cwd="/")
    try:
        wait_until(lambda: subprocess.run([postgres_tool("pg_isready"), "-q", "-h", data])
                   .returncode == 0, server, "postgres")
        report = client(launcher, [postgres_tool("pgbench"), "-h", str(data), "-n", *arguments,
                                   "postgres"], user=user, cwd="/")
        done = re.search(r"transactions actually processed: (\d+)/\1\b", report)
        rate = re.search(r"tps = ([\d.]+)", report)
        if not done or not rate:
            raise Wrong("pgbench: not all transactions were processed")
    finally:
        subprocess.run([postgres_tool("pg_ctl"), "-D", data, "-m", "fast", "-w", "stop"], user=user,
                       cwd="/", capture_output=True)
    _, figures = launcher.finish(server, program, allocator)
    shutil.rmtree(data)
    return int(done.group(1)) / float(rate.group(1)), figures


SERVERS = {"redis": redis, "pgbench": pgbench}
