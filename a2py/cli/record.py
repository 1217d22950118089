"""The proxy that `a2py start` left running: what is written down of it, and whether it still is the same process.

Knows: the record's file, process numbers and start times. Must not know: how anything is started or stopped.
Invariants: a record whose process has gone, or whose number another process has by now, or that is no record at all, counts as none; a
proxy in the background writes its own, once it serves, so that there is none without a record, whatever becomes of who started it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass, replace

from a2py.cli import state


@dataclass(frozen=True)
class Record:
    """`argv`: flags of serve; `cwd`: where it was started; `born`: the kernel's start time of the process, "" where it does not tell;
    `trouble`: what its owner should know, for example why the latest reload was refused."""

    pid: int
    url: str
    argv: list[str]
    cwd: str
    started: float
    born: str = ""
    trouble: str = ""


def paths() -> tuple[str, str]:
    """The record and the log."""
    directory = state.state_dir(os.environ)
    return os.path.join(directory, "daemon.json"), os.path.join(directory, "a2py.log")


def born(pid: int) -> str:
    """The start time of a process: in ticks since boot where /proc tells (Linux), else in the words of `ps`; "" for none."""
    if not os.path.exists("/proc/self/stat"):
        return subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def current() -> Record | None:
    """The daemon that runs. A record that is stale, or no record, is None."""
    try:
        with open(paths()[0], encoding="utf-8") as file:
            record = Record(**json.load(file))
        if not _sound(record):
            return None
        os.kill(record.pid, 0)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return record if record.born == born(record.pid) else None


def _sound(record: Record) -> bool:
    """Whether each field is what it should be. A number below 1 would mean whole groups of processes to kill()."""
    texts = (record.url, record.cwd, record.born, record.trouble, *record.argv)
    return (
        type(record.pid) is int and 0 < record.pid < 2**31 and isinstance(record.started, (int, float)) and set(map(type, texts)) == {str}
    )


def take_over(url: str, argv: list[str]) -> None:
    """Write down this process, which serves at `url`; the one before it, if there is one, drains. Stop where it can't be written."""
    before, pid = current(), os.getpid()
    _write(Record(pid, url, argv, os.getcwd(), time.time(), born(pid)))
    if before is not None and before.pid != pid:
        end(before.pid)


def _write(record: Record) -> None:
    state.write(paths()[0], json.dumps(asdict(record), indent=2) + "\n", 0o600)


def note(trouble: str) -> None:
    """Write `trouble` into the record, if that is this process's own. Stop where it can't be written."""
    record = current()
    if record is not None and record.pid == os.getpid() and record.trouble != trouble:
        _write(replace(record, trouble=trouble))


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just ended by itself


def zombie(pid: int) -> bool:
    """Dead, and not yet collected by whoever started it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
