"""Notify systemd and `a2py start`: ready, stopping, reloading, alive.

Knows: sd_notify(3) and sd_watchdog_enabled(3) (datagrams to NOTIFY_SOCKET), the pipe and the record of `a2py start`.
Must not know: what is served.
Invariants: without a listener nothing happens. A listener that has gone is not an error.
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

#: Variable with the descriptor of a pipe. Once the server listens, it gets one line: empty if the record is written,
#: else why it is not.
PIPE = "A2PY_READY"
#: Seconds by which a drain extends systemd's timeout with each sign of life.
PATIENCE = 20.0
#: How many characters a status line may have.
STATUS_LENGTH = 500
#: Seconds that READY=1 may wait for a manager whose queue is full.
READY_SECONDS = 1.0

T = TypeVar("T")


class Notifier:
    """`watchdog`: seconds within which systemd wants a WATCHDOG=1, 0 if it wants none."""

    def __init__(self, env: Mapping[str, str], pid: int) -> None:
        self._address = env.get("NOTIFY_SOCKET", "")
        usec = env.get("WATCHDOG_USEC", "")
        is_for_us = env.get("WATCHDOG_PID") in (None, "", str(pid))
        self._pipe = int(env[PIPE]) if env.get(PIPE, "").isdigit() else None
        self.watchdog = int(usec) / 1e6 if self._address and usec.isdigit() and is_for_us else 0.0
        self._is_stopping = False
        self._status = ""
        self._has_record = False
        self._serves = ""

    def say(self, *lines: str) -> None:
        """Send lines of sd_notify."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(
                    READY_SECONDS if "READY=1" in lines else 0
                )  # another sign of life may be lost, but not this one
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass

    def describe(self, serves: str) -> None:
        """Say what is served, for `a2py status`."""
        self._serves = serves
        self._note(serves=serves)

    def ready(self, url: str, status: str) -> None:
        """Say that the server listens at `url`."""
        self._status = f"{status} at {url}"
        self.say("READY=1", f"STATUS={self._status}", f"MAINPID={os.getpid()}")
        if self._pipe is not None:
            problem = ""
            try:
                record.take_over(url, sys.argv[2:], self._serves)  # sys.argv[1] is `serve`
                self._has_record = True
            except Stop as stop:
                problem = str(stop)
            try:
                os.write(self._pipe, problem.encode() + b"\n")
                os.close(self._pipe)
            except OSError:
                pass  # `a2py start` was killed; `a2py status` knows of us nevertheless
            self._pipe = None

    def trouble(self, what: str) -> None:
        """Show a problem in `systemctl status` and `a2py status`. "": it is solved."""
        line = " ".join(what.split())[:STATUS_LENGTH]
        self.say(f"STATUS={line or self._status}")
        self._note(trouble=line)

    def _note(self, **changes: str) -> None:
        """Change the record, if there is one."""
        if self._has_record:
            try:
                record.note(**changes)
            except Stop:
                pass  # the log has it

    def reload_begins(self) -> None:
        self.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reload_ends(self) -> None:
        self.say("READY=1")

    def reloading(self, load: Callable[[], T]) -> Callable[[], T]:
        """Return `load` with RELOADING=1 before and READY=1 after it."""

        def load_and_notify() -> T:
            self.reload_begins()
            try:
                return load()
            finally:
                self.reload_ends()

        return load_and_notify

    def stopping(self) -> None:
        self._is_stopping = True
        self.say("STOPPING=1", "STATUS=draining", self._more())

    @staticmethod
    def _more() -> str:
        """Return the line that extends TimeoutStopSec.

        A drain may take longer, because systemd does not know `drain_seconds`."""
        return f"EXTEND_TIMEOUT_USEC={int(PATIENCE * 1e6)}"

    async def beat(self) -> None:
        """Send WATCHDOG=1 three times as often as systemd wants it, while the event loop runs.

        Return at once without a listener."""
        while self._address:
            if self.watchdog:
                self.say("WATCHDOG=1")
            if self._is_stopping:
                self.say(self._more())
            await asyncio.sleep(min(self.watchdog / 3 or BEAT, BEAT))
