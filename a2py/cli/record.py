"""The record of a proxy that `a2py start` left running.

Knows: the record's file, pids and start times of processes. Must not know: how anything is started or stopped.
Invariants:
- A record is ignored if it is malformed, its process has exited, or its pid now belongs to another process. Only
  `latest` still reads it, for its flags.
- A background proxy writes its own record once it is serving, so the record exists even if the command that started it
  dies.
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
    """`argv`: flags of serve. `cwd`: the folder where it was started. `born`: the start time of the process, "" if
    unknown.
    `trouble`: what the user should know, such as why the latest reload was refused. `serves`: what is served, in one
    line."""

    pid: int
    url: str
    argv: list[str]
    cwd: str
    started: float
    born: str = ""
    trouble: str = ""
    serves: str = ""


def paths() -> tuple[str, str]:
    """Return the paths of the record and of the log."""
    directory = state.state_dir(os.environ)
    return os.path.join(directory, "daemon.json"), os.path.join(directory, "a2py.log")


def read_start_time(pid: int) -> str:
    """Return the start time of a process: ticks since boot from /proc (Linux), else what `ps` prints; "" if there is no
    process."""
    if not os.path.exists("/proc/self/stat"):
        return subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def read_running() -> Record | None:
    """Return the record of the proxy that is running, None if none is."""
    record = read_latest()
    if record is None:
        return None
    try:
        os.kill(record.pid, 0)
    except OSError:
        return None
    if is_zombie(record.pid):  # it has ended, and keeps its pid until its parent asks for the exit code
        return None
    return record if record.born == read_start_time(record.pid) else None


def read_latest() -> Record | None:
    """Return the record of the latest start, whether or not that proxy still runs. None if there is no valid record."""
    try:
        with open(paths()[0], encoding="utf-8") as file:
            record = Record(**json.load(file))
        return record if _is_valid(record) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _is_valid(record: Record) -> bool:
    """Return whether each field has a sensible value. kill() would take a pid below 1 for a whole group of
    processes."""
    texts = (record.url, record.cwd, record.born, record.trouble, record.serves, *record.argv)
    has_pid = type(record.pid) is int and 0 < record.pid < 2**31
    return has_pid and isinstance(record.started, (int, float)) and set(map(type, texts)) == {str}


def take_over(url: str, argv: list[str], serves: str = "") -> None:
    """Write a record of this process, which serves at `url`.

    Tell the proxy before it to drain. Raise Stop if that fails."""
    before, pid = read_running(), os.getpid()
    _write(Record(pid, url, argv, os.getcwd(), time.time(), read_start_time(pid), "", serves))
    if before is not None and before.pid != pid:
        end(before.pid)


def _write(record: Record) -> None:
    state.write(paths()[0], json.dumps(asdict(record), indent=2) + "\n", 0o600)


def note(**changes: str) -> None:
    """Change fields of the record, if it is this process's own. Raise Stop if it can't be written."""
    record = read_running()
    if record is not None and record.pid == os.getpid():
        new = replace(record, **changes)  # type: ignore[arg-type]
        if new != record:
            _write(new)


def end(pid: int) -> None:
    """Tell a process to drain and end."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just ended by itself


def is_zombie(pid: int) -> bool:
    """Return whether a process has ended, but its parent has not asked for its exit code yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
