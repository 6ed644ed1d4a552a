"""allocators.py: the allocators that are compared, and the proof of which one served a run."""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PEERS = {
    "glibc": "libc.so.6",
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}
BUILT = {"floor": "bench/floor.so", "hakmem": ".libs/libhakmem.so"}
KNOWN = re.compile(r"/(lib)?(jemalloc|mimalloc|tcmalloc|hakmem|snmalloc|rpmalloc|floor)[^/]*$")


class Wrong(Exception):
    """A run that another allocator served than the one asked for, or that went wrong."""


@dataclass
class Allocator:
    name: str
    path: Path
    env: dict = field(default_factory=dict)

    @property
    def peer(self):
        return self.name in PEERS

    @property
    def identity(self):
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:12] + "".join(
            f" {k}={v}" for k, v in self.env.items())


def system_library(soname):
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    found = re.search(rf"^\s*{re.escape(soname)} .*x86-64.*=> (\S+)$"
                      if os.uname().machine == "x86_64" else
                      rf"^\s*{re.escape(soname)} .*=> (\S+)$", cache, re.M)
    if not found:
        raise ValueError(f"{soname} is not installed")
    return Path(found.group(1)).resolve()


def parse(spec, build, snapshots):
    """NAME, or NAME=PATH, either with +VAR=VALUE... for its environment.  What isn't the system's is
    copied, so that a rebuild during the run changes nothing."""
    spec, *env = spec.split("+")
    name, _, path = spec.partition("=")
    env = dict(e.split("=", 1) for e in env)
    if name in PEERS and not path:
        return Allocator(name, system_library(PEERS[name]), env)
    if not path and name not in BUILT:
        raise ValueError(f"{name}: unknown allocator; write {name}=PATH")
    source = Path(path) if path else build / BUILT[name]
    if not source.exists():
        raise ValueError(f"{name}: {source} does not exist")
    copy = snapshots / name / source.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, copy)
    copy.chmod(0o755)
    return Allocator(name, copy.resolve(), env)


def check_bindings(program, allocator):
    """The dynamic linker itself says to which object each malloc and free of the program is bound;
    the program does not run for that.  (A program that takes malloc's address is named too: others
    then go through its PLT.)"""
    env = {**os.environ, "LD_PRELOAD": str(allocator.path), "LD_TRACE_LOADED_OBJECTS": "1",
           "LD_BIND_NOW": "1", "LD_WARN": "1", "LD_DEBUG": "bindings"}
    trace = subprocess.run([program], env=env, capture_output=True, text=True).stderr
    bound = set(re.findall(r" to (\S+) \[\d+\]: normal symbol `(?:malloc|free)'", trace))
    if {Path(b).resolve() for b in bound} - {Path(program).resolve()} != {allocator.path}:
        raise Wrong(f"{program} under {allocator.name}: malloc is bound to "
                    + (", ".join(sorted(bound)) or "nothing (a static program?)"))


def check_objects(objects, allocator, linked):
    """The objects mapped by a process at its end; `linked` are allocators its program links."""
    paths = {Path(o).resolve() for o in objects}
    others = [p for p in paths if KNOWN.search(str(p)) and p != allocator.path and p.name not in linked]
    if allocator.path not in paths or others:
        raise Wrong(f"mapped at the end: {', '.join(map(str, others)) or 'no allocator'}, "
                    f"not {allocator.path}")


def linked_allocators(program):
    """Names of the known allocators that the program itself links."""
    env = {**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"}
    trace = subprocess.run([program], env=env, capture_output=True, text=True).stdout
    paths = [Path(p).resolve() for p in re.findall(r"=> (\S+) ", trace)]
    return {p.name for p in paths if KNOWN.search(str(p))}
