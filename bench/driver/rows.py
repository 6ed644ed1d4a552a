"""rows.py: the table of rows, read from rows.conf."""

import fnmatch
import hashlib
import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    name: str
    quick: bool
    cpus: int
    kind: str               # "bench" (ours), "program" (of the system), "server"
    env: dict
    command: list

    @property
    def group(self):
        """What rows are averaged by: the program for ours, "real" for the others."""
        return self.command[0] if self.kind == "bench" else "real"

    @property
    def timed(self):
        """Whether its time counts; hello is there for its memory alone."""
        return self.name != "hello"

    @property
    def repeats(self):
        """How often it runs in a round.  Programs of the system, whole processes, vary the most."""
        return 3 if self.group == "real" and self.timed else 1


def parse(line):
    name, quick, cpus, command = line.split(None, 3)
    kind = {"!": "program", "@": "server"}.get(command[0], "bench")
    words = shlex.split(command.lstrip("!@"))
    env = {}
    while kind == "program" and "=" in words[0]:
        variable, value = words.pop(0).split("=", 1)
        env[variable] = value
    return Row(name, quick == "quick", int(cpus), kind, env, words)


def load(path):
    """All rows, and the hash of the table that names them."""
    text = path.read_text()
    lines = [line.strip() for line in text.splitlines()]
    rows = [parse(line) for line in lines if line and not line.startswith("#")]
    return rows, hashlib.sha256(text.encode()).hexdigest()[:12]


def select(rows, names, quick):
    """The rows that match any of the names (globs), in table order; ValueError for a name that
    matches none."""
    for name in names:
        if not any(fnmatch.fnmatch(row.name, name) for row in rows):
            raise ValueError(f"no row is named {name}")
    return [row for row in rows
            if (not names or any(fnmatch.fnmatch(row.name, name) for name in names))
            and (row.quick or not quick)]
