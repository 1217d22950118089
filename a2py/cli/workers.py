"""`--num-workers N`: N processes on one port, and the parent that watches over them.

Knows: processes, signals, the sockets between parent and worker (control.py), who accepts from what (sharing.py).
Must not know: HTTP, what a configuration holds.
Invariants:
- A worker that dies or falls silent is replaced, after a growing pause if it dies young. It never ends its siblings.
  The whole fails only if no worker has ever served and each has failed.
- Workers serve the configuration that the parent has read, also after a reload.
- A worker whose parent has died drains and ends. Otherwise a worker ends only when its parent says so: a signal to the
  whole process group (from a terminal, or systemd's KillMode=control-group) would reach it twice, from the group and
  the parent.
- Workers can send messages to each other (relay.py, proxy/bus.py).
- One worker asks servers what they are; what any worker learns reaches all others, also those that start later.
- The parent keeps the sockets open so that no waiting connection is lost with a worker, and closes them when the drain
  begins.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from a2py.cli import control, handover, listen
from a2py.cli.control import CONTROL, COUNT, LEFT, LOADED, NUMBER, PARENT, READY, Link
from a2py.cli.exits import FAILED, OK
from a2py.cli.notify import PIPE, Notifier
from a2py.cli.relay import Relay
from a2py.cli.sharing import Sharing
from a2py.cli.terminal import watch_terminal
from a2py.evidence import message

#: A worker that lived shorter than YOUNG seconds is replaced after a pause. The pause doubles, up to LONGEST seconds.
YOUNG, FIRST_PAUSE, LONGEST = 5.0, 0.25, 16.0
#: Seconds without a sign of life after which a worker is killed. A worker sends one every BEAT seconds.
SILENCE = 60.0
#: If the silence is noticed this many seconds too late, the parent itself was stopped (`docker pause`, a debugger), and
#: the workers may have been stopped with it: the silence does not count.
LATE = 5.0
#: Bytes to read of a worker at once.
CHUNK = 65536
#: Servers whose words are kept, as in each worker (proxy/discovery.py).
MAX_SERVERS = 256
#: Variables that are for the parent alone.
_PARENT_ONLY = (
    PIPE,
    handover.VARIABLE,
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)


@dataclass
class Hooks:
    """What the supervisor calls.

    `say`: print one line for a person.
    `load`: return a newer configuration, or None if it was refused.
    `serving`: called once, when every worker that can start serves.
    `ending`: called when the drain begins; returns True if another process already accepts from the same sockets."""

    say: Callable[[str], None]
    load: Callable[[], bytes | None] = lambda: None
    serving: Callable[[], object] = lambda: None
    ending: Callable[[], object] = lambda: None


class Supervisor:
    """The parent.

    `url`: where clients reach the workers; `config`: the configuration that each worker gets, as bytes."""

    def __init__(
        self,
        command: Sequence[str],
        sharing: Sharing,
        url: str,
        env: Mapping[str, str],
        notifier: Notifier,
        hooks: Hooks,
        config: bytes = b"",
    ) -> None:
        self.command = list(command)
        self.sharing = sharing
        self.url = url
        self.env = {name: value for name, value in env.items() if name not in _PARENT_ONLY}
        self.notifier = notifier
        self.hooks = hooks
        self.config = config
        self.running: dict[int, asyncio.subprocess.Process] = {}
        self.links: dict[int, Link] = {}
        self.ready: set[int] = set()
        self.exit_codes: dict[int, int] = {}  # worker → exit code of its latest life; OK: it has served
        self.asker: int | None = None  # the worker that asks private servers what they are
        self.relay = Relay(hooks.say)
        self.reports: dict[str, bytes] = {}  # base → what the server there says of itself
        self.stopping = asyncio.Event()
        self.code = OK
        self.is_terminal_closed = watch_terminal()
        self.is_announced = self.is_reloading = self.is_leaving = False

    async def run(self) -> int:
        """Run until all workers have ended, and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        beat = asyncio.ensure_future(self.notifier.beat())
        try:
            await asyncio.gather(*(self.keep(number) for number in range(self.sharing.count)))
        finally:
            beat.cancel()
        return self.code

    def stop(self) -> None:
        """Begin to drain. Called a second time: end at once."""
        if self.stopping.is_set():
            for link in self.links.values():
                link.send(control.NOW)
            return
        self.stopping.set()
        self.notifier.stopping()
        is_handed_over = self.hooks.ending() is True
        for link in self.links.values():
            link.send(control.DRAIN, b"1" if is_handed_over else b"")
        self.sharing.close()  # left open, they would take connections that nobody accepts until the last worker ends

    def reload(self) -> None:
        """Read the configuration again and give it to every worker, also to one that is starting.

        SIGHUP also arrives when the terminal is closed; then everything ends."""
        if self.is_terminal_closed():
            self.stop()
            return
        self.notifier.reload_begins()
        self.is_reloading = True
        config = self.hooks.load()
        if config is not None:
            self.config = config
            for link in self.links.values():
                link.configure(config)
        self._finish_reload()

    def _finish_reload(self) -> None:
        """Tell systemd that the reload is over, once every worker has loaded the configuration."""
        if self.is_reloading and not any(link.pending_configs for link in self.links.values()):
            self.is_reloading = False
            self.notifier.reload_ends()

    def leave(self) -> None:
        """Take all workers out of rotation. One of them was asked to leave."""
        self.is_leaving = True
        for link in self.links.values():
            link.send(control.LEAVE)

    async def keep(self, number: int) -> None:
        """Run worker `number` and its successors until the end."""
        pause = FIRST_PAUSE
        while not self.stopping.is_set():
            start = time.monotonic()
            try:
                code = await self.once(number)
            except OSError as error:  # no memory, no descriptors, or the program is being replaced
                self.hooks.say(f"worker {number} can't be started: {error.strerror}")
                code = FAILED
            if self.stopping.is_set():
                return
            has_served = self.exit_codes.get(number) == OK
            self.exit_codes[number] = code or FAILED
            if self._has_all_failed():
                self.hooks.say(f"worker {number} ended ({_format_code(code)}) before it served")
                self.code = code if code > 0 else FAILED
                self.stop()
                return
            is_young = time.monotonic() - start < YOUNG
            when = "" if has_served else " before it served"
            delay = f" in {pause:g} s" if is_young else ""
            self.hooks.say(f"worker {number} ended ({_format_code(code)}){when}: another is started{delay}")
            self._announce()
            if is_young:
                try:
                    await asyncio.wait_for(self.stopping.wait(), pause)
                except asyncio.TimeoutError:
                    pass
            pause = min(2 * pause, LONGEST) if is_young else FIRST_PAUSE

    def _has_all_failed(self) -> bool:
        """Return whether every worker has ended and none has ever served."""
        return len(self.exit_codes) == self.sharing.count and not self.is_announced and not self.ready

    async def once(self, number: int) -> int:
        """Run one worker process, and return its exit code."""
        here, there = socket.socketpair()
        descriptors = self.sharing.descriptors(number)
        env = {
            **self.env,
            listen.VARIABLE: ",".join(map(str, descriptors)),
            CONTROL: str(there.fileno()),
            NUMBER: str(number),
            COUNT: str(self.sharing.count),
            PARENT: control.VERSION,
        }
        with here, there:
            process = await asyncio.create_subprocess_exec(
                *self.command, env=env, pass_fds=(*descriptors, there.fileno()), start_new_session=True
            )
            there.close()
            self.running[number], self.links[number] = process, Link(here)
            link = self.links[number]
            link.send(control.CONFIG, self.config)
            for base, report in self.reports.items():
                link.teach(base, report)
            if self.is_leaving:
                link.send(control.LEAVE)
            if self.stopping.is_set():
                link.send(control.DRAIN)
            watching = asyncio.ensure_future(self.watch(number, link, process))
            try:
                return await process.wait()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                del self.running[number], self.links[number]
                self.relay.leave(number)
                link.close()
                self.ready.discard(number)
                self._choose_asker()
                self._finish_reload()
                self.cover()

    async def watch(self, number: int, link: Link, process: asyncio.subprocess.Process) -> None:
        """Act on what a worker says, until it ends. Kill a worker that has served and falls silent."""
        try:
            while data := await self.hear(number, link):
                words, frames = link.split(data)
                for frame in frames:
                    if frame.kind == control.MAIL:
                        self.relay.carry(number, link, frame.payload)
                    else:
                        self.share(number, frame.payload)
                if READY in words:
                    self.ready.add(number)
                    self.exit_codes[number] = OK
                    self._choose_asker()
                    self._announce()
                    self.cover()
                if LEFT in words:
                    self.leave()
                link.count_loaded(words.count(LOADED))
                self._finish_reload()
        except asyncio.TimeoutError:
            self.hooks.say(f"worker {number} does not answer: it is killed")
            process.kill()
        except ValueError as error:
            self.hooks.say(f"worker {number} sent {error}, which nothing reads: it is killed")
            process.kill()
        except OSError:
            return

    def share(self, number: int, payload: bytes) -> None:
        """Keep what worker `number` has learned of a server, and send it to all others."""
        report = message.decode(payload)
        if report is None or (report.base not in self.reports and len(self.reports) >= MAX_SERVERS):
            return
        self.reports[report.base] = payload
        for other, link in self.links.items():
            if other != number:
                link.teach(report.base, payload)

    def _choose_asker(self) -> None:
        """See to it that one of the workers that serve asks private servers what they are."""
        if self.asker in self.ready or self.stopping.is_set():
            return
        self.asker = min(self.ready, default=None)
        if self.asker is not None:
            self.links[self.asker].send(control.ASK)

    async def hear(self, number: int, link: Link) -> bytes:
        """Return the next bytes of a worker, b"" if it has ended.

        Raise TimeoutError if it has served and is silent too long."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SILENCE
            try:
                return await asyncio.wait_for(
                    loop.sock_recv(link.sock, CHUNK), SILENCE if number in self.ready else None
                )
            except asyncio.TimeoutError:
                if loop.time() - due < LATE:
                    raise

    def _announce(self) -> None:
        """Say once that the port is served: as soon as every worker has either served or failed."""
        if self.is_announced or not self.ready or len(self.exit_codes) < self.sharing.count or self.stopping.is_set():
            return
        self.is_announced = True
        self.hooks.serving()
        count = self.sharing.count
        share = "" if len(self.ready) == count else f"{len(self.ready)} of "
        self.notifier.ready(self.url, f"{share}{count} workers")
        self.links[min(self.ready)].send(control.ANNOUNCE)

    def cover(self) -> None:
        """Let workers that serve borrow the sockets of those that do not."""
        if not self.is_announced or self.stopping.is_set():
            return
        for loan in self.sharing.cover(self.ready):
            kind = control.TAKE if loan.sock is None else control.LEND
            self.links[loan.worker].send(kind, loan.position.to_bytes(4, "big"), loan.sock)


def _format_code(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def build_command(argv: Sequence[str]) -> list[str]:
    """Return the command line that runs this program again with `argv`.

    It is the script or single file that was started, whatever its name, else the package. `-m` is used only if this
    process was started with it, because `-m` puts the working directory first in sys.path."""
    path = os.path.abspath(sys.argv[0])
    is_script = os.path.splitext(os.path.basename(path))[0] == "a2py" or hasattr(sys.modules["__main__"], "PARTS")
    if is_script and os.path.isfile(path):
        return [sys.executable, path, *argv]
    return [sys.executable, "-m", "a2py", *argv]
