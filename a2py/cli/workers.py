"""`--num-workers N`: N processes on one port, and the one that watches over them.

Knows: processes, signals, pipes. Must not know: HTTP, configurations; it imports neither.
Invariants: a worker that dies is replaced (ever more slowly if it dies at once); a worker whose parent has died drains and ends; signals
reach the workers through the parent only; the sockets stay open in the parent, so that no connection is lost with a worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from a2py.cli import listen
from a2py.cli.exits import CONFIG, OK, REFUSED, UNAVAILABLE, USAGE
from a2py.cli.notify import PIPE, Notifier

#: A worker's end of the pair that tells the parent "ready", and the worker that the parent is gone; the worker's number.
CONTROL, NUMBER = "A2PY_CONTROL", "A2PY_WORKER"
#: Set where another worker has said already what is served.
SILENT = "A2PY_SILENT"
#: Exit codes that a second try would only repeat.
FINAL = frozenset((USAGE, UNAVAILABLE, REFUSED, CONFIG))
#: A worker that lived shorter than this (seconds) is replaced after a pause that doubles, up to LONGEST.
YOUNG, FIRST_PAUSE, LONGEST = 5.0, 0.25, 16.0


class Supervisor:
    """`url`: where the whole is reached; `say`: one line for a person."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        count: int,
        url: str,
        env: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self.command = list(command)
        self.url = url
        self.sockets = list(sockets)
        self.count = count
        self.env = dict(env)
        self.say = say
        self.running: dict[int, asyncio.subprocess.Process] = {}
        self.ready: set[int] = set()
        self.stopping = asyncio.Event()
        self.code = OK
        self.notifier = Notifier(env, os.getpid())
        self.announced = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        beat = asyncio.ensure_future(self.notifier.beat())
        try:
            await asyncio.gather(*(self.keep(number) for number in range(self.count)))
        finally:
            beat.cancel()
        return self.code

    def stop(self) -> None:
        """The first time a drain, the second time at once: the workers know by themselves."""
        if not self.stopping.is_set():
            self.notifier.stopping()
        self.stopping.set()
        self.signal(signal.SIGTERM)

    def reload(self) -> None:
        self.signal(signal.SIGHUP)

    def signal(self, number: int) -> None:
        for process in self.running.values():
            try:
                process.send_signal(number)
            except ProcessLookupError:
                pass

    async def keep(self, number: int) -> None:
        """One worker and its successors, until the end."""
        pause, first = FIRST_PAUSE, True
        while not self.stopping.is_set():
            born = time.monotonic()
            code = await self.once(number, first)
            first = False
            if self.stopping.is_set():
                return
            if code in FINAL:
                self.code = code
                self.stop()
                return
            young = time.monotonic() - born < YOUNG
            self.say(f"worker {number} ended ({_ended(code)}): another is started" + (f" in {pause:g} s" if young else ""))
            if young:
                try:
                    await asyncio.wait_for(self.stopping.wait(), pause)
                except asyncio.TimeoutError:
                    pass
            pause = min(2 * pause, LONGEST) if young else FIRST_PAUSE

    async def once(self, number: int, first: bool) -> int:
        """One worker's life; gives its exit code. The very first one of all says what is served."""
        here, there = socket.socketpair()
        own = self.sockets[number % len(self.sockets)]
        env = {**self.env, listen.VARIABLE: str(own.fileno()), CONTROL: str(there.fileno()), NUMBER: str(number)}
        env[SILENT] = "" if first and number == 0 else "1"
        for name in (PIPE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
            env.pop(name, None)
        with here:
            with there:
                process = await asyncio.create_subprocess_exec(
                    *self.command, env=env, pass_fds=(own.fileno(), there.fileno()), start_new_session=True
                )
            self.running[number] = process
            if self.stopping.is_set():
                process.terminate()
            here.setblocking(False)
            waiting = asyncio.ensure_future(self.heard(number, here))
            try:
                return await process.wait()
            finally:
                waiting.cancel()
                del self.running[number]
                self.ready.discard(number)

    async def heard(self, number: int, control: socket.socket) -> None:
        """A worker says that it serves; once all do, so does the whole."""
        try:
            if await asyncio.get_running_loop().sock_recv(control, 1):
                self.ready.add(number)
        except OSError:
            return
        if len(self.ready) == self.count and not self.announced:
            self.announced = True
            self.notifier.ready(self.url, f"{self.count} workers")


def _ended(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def command(argv: Sequence[str]) -> list[str]:
    """This program again, with other arguments: the script or single file that was started, whatever its name, else the package.

    `-m` is only used for who used it: it puts the working directory in front of every import."""
    started = os.path.abspath(sys.argv[0])
    script = os.path.splitext(os.path.basename(started))[0] == "a2py" or hasattr(sys.modules["__main__"], "PARTS")
    if script and os.path.isfile(started):
        return [sys.executable, started, *argv]
    return [sys.executable, "-m", "a2py", *argv]


class Worker:
    """The worker's end: `ready` tells the parent; `parent_gone` fires once the parent has died."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.number = int(env[NUMBER]) if env.get(NUMBER, "").isdigit() else None
        self._control = socket.socket(fileno=int(env[CONTROL])) if env.get(CONTROL, "").isdigit() else None
        if self._control is not None:
            self._control.setblocking(False)
            os.set_inheritable(self._control.fileno(), False)

    def ready(self) -> None:
        if self._control is not None:
            try:
                self._control.send(b"r")
            except OSError:
                pass

    def parent_gone(self, then: Callable[[], None]) -> None:
        """`then` runs once the other end is closed. Needs a running loop."""
        if self._control is None:
            return
        loop, control = asyncio.get_running_loop(), self._control

        def heard() -> None:
            try:
                data = control.recv(1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                loop.remove_reader(control)
                then()

        loop.add_reader(control, heard)
