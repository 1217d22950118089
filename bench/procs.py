"""Start processes on a core, measure the tree of their descendants, and always stop them.

Knows: /proc and the CPU clocks of processes (Linux). Must not know: what runs in them.
Invariants: only processes that were started here are signalled, by their own process group; CPU is utime + stime of the
whole tree, dead children included, read without the 10 ms tick of /proc/PID/stat where the process's CPU clock tells it
in nanoseconds.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
_PDEATHSIG = 1
#: Seconds for a process to end after SIGTERM, before SIGKILL.
PATIENCE = 6.0
FILES = 20_000


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def allow_files() -> None:
    """Raise the limit of open files as far as the system permits, at most to FILES."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; [] if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree(root: int) -> list[int]:
    """Return `root` and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat:
                children.setdefault(int(stat[1]), []).append(int(entry))
    pids = [root]
    for pid in pids:
        pids += children.get(pid, ())
    return pids


def _cpu(pid: int) -> float:
    """Return the CPU seconds of one living process and its dead children."""
    stat = _stat(pid)
    if not stat:
        return 0.0
    try:
        own = time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of that process, see clock_getcpuclockid(3)
    except OSError:
        own = (int(stat[11]) + int(stat[12])) / _TICK
    return own + (int(stat[13]) + int(stat[14])) / _TICK


class Process:
    """The processes of one system. `cpu()`: CPU seconds so far. `rss()`: resident bytes now."""

    def __init__(self, argv: list[str], env: dict[str, str], directory: Path, core: int | None) -> None:
        self.log = directory / "output.log"

        def child() -> None:
            if _PRCTL is not None:
                _PRCTL(_PDEATHSIG, signal.SIGTERM)  # the child ends even if the suite is killed
            if core is not None:
                os.sched_setaffinity(0, {core})
            allow_files()

        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                argv,
                env=env,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=child,
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def cpu(self) -> float:
        return sum(map(_cpu, tree(self.pid)))

    def rss(self) -> int:
        """Return the resident bytes of the tree. Pages that are shared within it count once if the kernel reports the
        proportional set size."""
        return sum(map(_memory, tree(self.pid)))

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(PATIENCE)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def tail(self, size: int = 600) -> str:
        return self.log.read_bytes()[-size:].decode("utf-8", "replace")


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
