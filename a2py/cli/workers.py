"""`--num-workers N`: N processes on one port, and the one that watches over them.

Knows: processes, signals, listening sockets, the pair of sockets between parent and worker (control.py). Must not know: HTTP, what a
configuration holds.
Invariants: a worker that dies or falls silent is replaced (ever more slowly if it dies at once), and never ends its siblings; only if none has
ever served and each has failed, the whole fails; workers serve the configuration that the parent has read, a later one too; every listening
socket has a worker that accepts from it: a sibling, until its own is back; a worker whose parent has died drains and ends; a worker ends by its
parent's word alone: of a signal that went to the whole group (a terminal's, systemd's KillMode=control-group) parent and worker would make two;
the parent holds the sockets so that no waiting connection is lost with a worker, and closes them when the drain begins.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from a2py.cli import control, handover, listen
from a2py.cli.control import CONTROL, LEFT, LOADED, NUMBER, PARENT, READY, Link
from a2py.cli.exits import FAILED, OK
from a2py.cli.notify import PIPE, Notifier
from a2py.cli.terminal import closing

#: A worker that lived shorter than this (seconds) is replaced after a pause that doubles, up to LONGEST.
YOUNG, FIRST_PAUSE, LONGEST = 5.0, 0.25, 16.0
#: Seconds without a sign of life (one comes every BEAT) after which a worker is taken for hung, and killed.
SILENCE = 60.0
#: Seconds by which that is noticed too late if this process itself was stopped (`docker pause`, a debugger): the workers may have been, too.
LATE = 5.0
#: What concerns the parent alone.
_OURS = (PIPE, handover.VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class Supervisor:
    """`url`: where the whole is reached; `say`: one line for a person; `config`: what each worker gets; `load`: gives a newer one, None: that
    was refused; `serving`: called once, when all workers that can start serve; `ending`: called when the drain begins, and returns True if
    another process accepts from the same sockets already."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        count: int,
        url: str,
        env: Mapping[str, str],
        say: Callable[[str], None],
        config: bytes = b"",
        load: Callable[[], bytes | None] = lambda: None,
        serving: Callable[[], object] = lambda: None,
        ending: Callable[[], object] = lambda: None,
    ) -> None:
        self.command = list(command)
        self.url = url
        self.sockets = list(sockets)
        self.shares = listen.shares(sockets, count)
        self.count = count
        self.env = {name: value for name, value in env.items() if name not in _OURS}
        self.say = say
        self.config, self.load = config, load
        self.serving, self.ending = serving, ending
        self.running: dict[int, asyncio.subprocess.Process] = {}
        self.links: dict[int, Link] = {}
        self.ready: set[int] = set()
        self.exit_codes: dict[int, int] = {}  # worker → exit code of its latest life; OK: it has served
        self.borrowers: dict[int, int] = {}  # index of a socket → the worker that accepts from it in the place of its own
        self.stopping = asyncio.Event()
        self.code = OK
        self.notifier = Notifier(env, os.getpid())
        self.closed = closing()
        self.is_announced = self.is_reloading = self.is_leaving = False

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
        """The first time a drain, the second time at once."""
        if self.stopping.is_set():
            for link in self.links.values():
                link.send(control.NOW)
            return
        self.stopping.set()
        self.notifier.stopping()
        handed_over = self.ending() is True
        for link in self.links.values():
            link.send(control.DRAIN, b"1" if handed_over else b"")
        for sock in self.sockets:  # open here, they would take connections that nobody accepts, until the last worker has ended
            sock.close()

    def reload(self) -> None:
        """Read the configuration again, and give it to every worker, also to one that is starting. A closed terminal ends all."""
        if self.closed():
            self.stop()
            return
        self.notifier.reload_begins()
        self.is_reloading = True
        config = self.load()
        if config is not None:
            self.config = config
            for link in self.links.values():
                link.configure(config)
        self._reloaded()

    def _reloaded(self) -> None:
        if self.is_reloading and not any(link.unloaded for link in self.links.values()):
            self.is_reloading = False
            self.notifier.reload_ends()

    def leave(self) -> None:
        """Out of rotation, all workers: one was asked to."""
        self.is_leaving = True
        for link in self.links.values():
            link.send(control.LEAVE)

    async def keep(self, number: int) -> None:
        """One worker and its successors, until the end."""
        pause = FIRST_PAUSE
        while not self.stopping.is_set():
            born = time.monotonic()
            try:
                code = await self.once(number)
            except OSError as error:  # no memory, no descriptors, or the program is being replaced
                self.say(f"worker {number} can't be started: {error.strerror}")
                code = FAILED
            if self.stopping.is_set():
                return
            served = self.exit_codes.get(number) == OK
            self.exit_codes[number] = code or FAILED
            if len(self.exit_codes) == self.count and not self.is_announced and not self.ready:
                self.say(f"worker {number} ended ({_ended(code)}) before it served")
                self.code = code if code > 0 else FAILED
                self.stop()
                return
            young = time.monotonic() - born < YOUNG
            when = "" if served else " before it served"
            self.say(f"worker {number} ended ({_ended(code)}){when}: another is started" + (f" in {pause:g} s" if young else ""))
            self._announce()
            if young:
                try:
                    await asyncio.wait_for(self.stopping.wait(), pause)
                except asyncio.TimeoutError:
                    pass
            pause = min(2 * pause, LONGEST) if young else FIRST_PAUSE

    async def once(self, number: int) -> int:
        """One worker's life; returns its exit code."""
        here, there = socket.socketpair()
        own = [sock.fileno() for sock in self.shares[number]]
        env = {
            **self.env,
            listen.VARIABLE: ",".join(map(str, own)),
            CONTROL: str(there.fileno()),
            NUMBER: str(number),
            PARENT: control.VERSION,
        }
        with here, there:
            process = await asyncio.create_subprocess_exec(*self.command, env=env, pass_fds=(*own, there.fileno()), start_new_session=True)
            there.close()
            self.running[number], self.links[number] = process, Link(here)
            link = self.links[number]
            link.send(control.CONFIG, self.config)
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
                link.close()
                self.ready.discard(number)
                self._reloaded()
                self.cover()

    async def watch(self, number: int, link: Link, process: asyncio.subprocess.Process) -> None:
        """A worker says that it serves; once all do, so does the whole. One that has said so and falls silent is killed."""
        try:
            while words := await self.hear(number, link):
                if READY in words:
                    self.ready.add(number)
                    self.exit_codes[number] = OK
                    self._announce()
                    self.cover()
                if LEFT in words:
                    self.leave()
                link.count_loaded(words.count(LOADED))
                self._reloaded()
        except asyncio.TimeoutError:
            self.say(f"worker {number} does not answer: it is killed")
            process.kill()
        except OSError:
            return

    async def hear(self, number: int, link: Link) -> bytes:
        """Return the next words of a worker, b"" at its end. TimeoutError: one that serves was silent for too long."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SILENCE
            try:
                return await asyncio.wait_for(loop.sock_recv(link.sock, 64), SILENCE if number in self.ready else None)
            except asyncio.TimeoutError:
                if loop.time() - due < LATE:
                    raise

    def _announce(self) -> None:
        """Once every worker has served or failed: the whole serves."""
        if self.is_announced or not self.ready or len(self.exit_codes) < self.count or self.stopping.is_set():
            return
        self.is_announced = True
        self.serving()
        of = "" if len(self.ready) == self.count else f"{len(self.ready)} of "
        self.notifier.ready(self.url, f"{of}{self.count} workers")
        self.links[min(self.ready)].send(control.ANNOUNCE)

    def cover(self) -> None:
        """Lend every socket whose own workers are all gone to one that serves, and take it back once one of its own does.

        On Linux each worker has a socket of its own (SO_REUSEPORT), and the kernel gives each its share of the connections, whether its worker
        lives or not: those of one that can't start would wait for up to LONGEST, again and again. One socket for all would have no such
        trouble, but the worker that wakes first accepts all that wait, and long streams pile up on one."""
        if not self.is_announced or self.stopping.is_set():
            return
        for index, sock in enumerate(self.sockets):
            served = any(number in self.ready for number in range(self.count) if sock in self.shares[number])
            holder = self.borrowers.get(index)
            name = index.to_bytes(4, "big")
            if holder is not None and (served or holder not in self.ready):
                del self.borrowers[index]
                if holder in self.ready:
                    self.links[holder].send(control.TAKE, name)
            if self.ready and not served and index not in self.borrowers:
                sibling = min(self.ready, key=list(self.borrowers.values()).count)
                self.borrowers[index] = sibling
                self.links[sibling].send(control.LEND, name, sock)


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
