"""Who waits for this process is told: ready, stopping, reloading, alive.

Knows: sd_notify(3) and sd_watchdog_enabled(3): datagrams to NOTIFY_SOCKET; the pipe and the record of `a2py start`. Must not know: what is
served.
Invariants: where nobody waits nothing happens; one who no longer listens is no failure.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from a2py.cli import record
from a2py.cli.control import BEAT
from a2py.cli.exits import Stop

#: Descriptor of a pipe into which one line is written once the server listens and its record is written: "", or why that could not be.
PIPE = "A2PY_READY"
#: Seconds for which a drain asks systemd's patience with each sign of life.
PATIENCE = 20.0
#: Characters of a status line.
STATUS_LENGTH = 500

#: Seconds that READY=1 may wait for a manager whose queue is full.
READY_SECONDS = 1.0

T = TypeVar("T")


class Notifier:
    """`watchdog`: seconds within which WATCHDOG=1 must come, 0: none is asked for."""

    def __init__(self, env: Mapping[str, str], pid: int) -> None:
        self._address = env.get("NOTIFY_SOCKET", "")
        usec = env.get("WATCHDOG_USEC", "")
        mine = env.get("WATCHDOG_PID") in (None, "", str(pid))
        self._pipe = int(env[PIPE]) if env.get(PIPE, "").isdigit() else None
        self.watchdog = int(usec) / 1e6 if self._address and usec.isdigit() and mine else 0.0
        self._stopping = False
        self._status = ""
        self._recorded = False

    def say(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(READY_SECONDS if "READY=1" in lines else 0)  # one sign of life may be lost, that one not
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass

    def ready(self, url: str, status: str) -> None:
        self._status = f"{status} at {url}"
        self.say("READY=1", f"STATUS={self._status}", f"MAINPID={os.getpid()}")
        if self._pipe is not None:
            fault = ""
            try:
                record.take_over(url, sys.argv[2:])  # behind `serve`
                self._recorded = True
            except Stop as stop:
                fault = str(stop)
            try:
                os.write(self._pipe, fault.encode() + b"\n")
                os.close(self._pipe)
            except OSError:
                pass  # whoever started us has gone, and may ask `a2py status`
            self._pipe = None

    def trouble(self, what: str) -> None:
        """Tell `systemctl status` and `a2py status`; "": it is over."""
        line = " ".join(what.split())[:STATUS_LENGTH]
        self.say(f"STATUS={line or self._status}")
        if self._recorded:
            try:
                record.note(line)
            except Stop:
                pass  # the log has it

    def reload_begins(self) -> None:
        self.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reload_ends(self) -> None:
        self.say("READY=1")

    def reloading(self, load: Callable[[], T]) -> Callable[[], T]:
        """`load`, framed by RELOADING=1 and READY=1."""

        def framed() -> T:
            self.reload_begins()
            try:
                return load()
            finally:
                self.reload_ends()

        return framed

    def stopping(self) -> None:
        self._stopping = True
        self.say("STOPPING=1", "STATUS=draining", self._more())

    @staticmethod
    def _more() -> str:
        """A drain may take longer than the unit's TimeoutStopSec, which knows nothing of `drain_seconds`."""
        return f"EXTEND_TIMEOUT_USEC={int(PATIENCE * 1e6)}"

    async def beat(self) -> None:
        """WATCHDOG=1 at a third of what is asked for, for as long as the loop turns; returns at once where nobody listens."""
        while self._address:
            if self.watchdog:
                self.say("WATCHDOG=1")
            if self._stopping:
                self.say(self._more())
            await asyncio.sleep(min(self.watchdog / 3 or BEAT, BEAT))
