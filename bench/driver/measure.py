"""measure.py: one run of one row under one allocator."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile

from . import allocators, servers
from .allocators import Wrong

TIMEOUT = 300           # seconds after which a run has failed


class Launcher:
    """Starts commands through bench/launch, pinned, under an allocator."""

    def __init__(self, build, work):
        self.build = build
        self.launch = work / "launch"               # where another user may run it
        shutil.copyfile(build / "bench/launch", self.launch)
        self.launch.chmod(0o755)
        allowed = sorted(os.sched_getaffinity(0))
        self.cpus = lambda n: allowed[-n:]

    def start(self, command, allocator, cpus, env=None, user=None, cwd=None):
        """A process and the file to which launch will write; the caller waits with finish()."""
        report = tempfile.TemporaryFile("w+")
        variables = {"LD_PRELOAD": str(allocator.path), **allocator.env, **(env or {})}
        process = subprocess.Popen(
            [self.launch, str(report.fileno()), ",".join(map(str, cpus)),
             *(f"{k}={v}" for k, v in variables.items()), "--", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            pass_fds=[report.fileno()], user=user, group=user and os_group(user), cwd=cwd)
        process.report = report
        return process

    def finish(self, process, program, allocator):
        """Output and figures of a process; raises Wrong when it failed or was served by another."""
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Wrong(f"not done after {TIMEOUT} s") from None
        process.report.seek(0)
        text = process.report.read()
        process.report.close()
        if process.returncode or not text.endswith("}\n"):
            raise Wrong(f"launch failed: {errors.strip()}")
        figures = json.loads(text)
        if figures["exit"]:
            raise Wrong(f"exit status {figures['exit']}: {errors.strip()[-300:]}")
        check_program(program, allocator)
        allocators.check_objects(figures.pop("objects"), allocator, linked(program))
        return output, figures


def os_group(user):
    import pwd
    return pwd.getpwnam(user).pw_gid


@functools.cache
def linked(program):
    return allocators.linked_allocators(program)


checked = set()


def check_program(program, allocator):
    key = (program, allocator.path)
    if key not in checked:
        allocators.check_bindings(program, allocator)
        checked.add(key)


def find_program(name):
    found = shutil.which(name)
    if not found:
        raise Wrong(f"{name} is not installed")
    return found            # not resolved: redis-server and others go by the name they are called


def result(seconds, cpu, figures, **more):
    return {"seconds": seconds, "cpu": cpu, "peak_kib": figures["peak_kib"],
            "faults": figures["minor_faults"] + figures["major_faults"],
            "process_wall": figures["wall"], "process_cpu": figures["user"] + figures["system"],
            "preempted": figures["preempted"], **more}


def run_bench(row, allocator, launcher):
    program = str(launcher.build / "bench" / row.command[0])
    process = launcher.start([program, *row.command[1:]], allocator, launcher.cpus(row.cpus))
    output, figures = launcher.finish(process, program, allocator)
    values = dict(re.findall(r"(\w+)=(\S+)", output))
    more = {k: float(v) for k, v in values.items() if k not in ("seconds", "cpu", "ops_per_s")}
    return result(float(values["seconds"]), float(values["cpu"]), figures, **more)


def run_program(row, allocator, launcher, places):
    command = [word.format(**places) for word in row.command]
    program = find_program(command[0])
    process = launcher.start([program, *command[1:]], allocator, launcher.cpus(row.cpus), row.env,
                             cwd=places["work"])
    output, figures = launcher.finish(process, program, allocator)
    return result(figures["wall"], figures["user"] + figures["system"], figures,
                  output=hashlib.sha256(output.encode()).hexdigest()[:12])


def run_server(row, allocator, launcher, places):
    server = servers.SERVERS[row.command[0]]
    seconds, figures = server(row.command[1:], allocator, launcher, places)
    return result(seconds, figures["user"] + figures["system"], figures)


def run(row, allocator, launcher, places):
    """Figures of one run as a dict; raises Wrong."""
    if row.kind == "bench":
        return run_bench(row, allocator, launcher)
    return (run_server if row.kind == "server" else run_program)(row, allocator, launcher, places)
