"""`--num-workers N`: N processes on one port, and the one that watches over them.

Knows: processes, signals, the pair of sockets between parent and worker. Must not know: HTTP, configurations; it imports neither.
Invariants: a worker that dies or falls silent is replaced (ever more slowly if it dies at once), but what fails before anything was served
fails the whole; a worker whose parent has died drains and ends; a worker ends by its parent's word alone: of a signal that went to the whole
group (a terminal's, systemd's KillMode=control-group) parent and worker would make two; the sockets stay open in the parent, so that no
connection is lost with a worker.

Parent to worker: `d` drain, `n` end now, end of file as `d`. Worker to parent: `r` ready, `.` alive.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from a2py.cli import handover, listen
from a2py.cli.exits import CONFIG, FAILED, OK, REFUSED, UNAVAILABLE, USAGE
from a2py.cli.notify import BEAT, PIPE, Notifier
from a2py.cli.terminal import closing

#: A worker's end of the pair of sockets; the worker's number.
CONTROL, NUMBER = "A2PY_CONTROL", "A2PY_WORKER"
#: Set where another worker has said already what is served.
SILENT = "A2PY_SILENT"
#: Exit codes that a second try would only repeat.
FINAL = frozenset((USAGE, UNAVAILABLE, REFUSED, CONFIG))
#: A worker that lived shorter than this (seconds) is replaced after a pause that doubles, up to LONGEST.
YOUNG, FIRST_PAUSE, LONGEST = 5.0, 0.25, 16.0
#: Seconds without a sign of life (one comes every BEAT) after which a worker is taken for hung, and killed.
SILENCE = 60.0
#: What concerns the parent alone.
_OURS = (PIPE, handover.VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class Supervisor:
    """`url`: where the whole is reached; `say`: one line for a person; `serving`: told once, when all workers serve."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        count: int,
        url: str,
        env: Mapping[str, str],
        say: Callable[[str], None],
        serving: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
    ) -> None:
        self.command = list(command)
        self.url = url
        self.shares = listen.shares(sockets, count)
        self.count = count
        self.env = {name: value for name, value in env.items() if name not in _OURS}
        self.say = say
        self.serving, self.ending = serving, ending
        self.running: dict[int, asyncio.subprocess.Process] = {}
        self.controls: dict[int, socket.socket] = {}
        self.ready: set[int] = set()
        self.stopping = asyncio.Event()
        self.code = OK
        self.notifier = Notifier(env, os.getpid())
        self.closed = closing()
        self.served = self.announced = False

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
        word = b"n" if self.stopping.is_set() else b"d"
        if not self.stopping.is_set():
            self.notifier.stopping()
            self.ending()
        self.stopping.set()
        for control in self.controls.values():
            _tell(control, word)

    def reload(self) -> None:
        """Each worker reads the configuration for itself, and says for itself what it thinks of it. A closed terminal ends all."""
        if self.closed():
            self.stop()
        else:
            self.notifier.reloading(self._hang_up)()

    def _hang_up(self) -> None:
        for number in self.ready:
            try:
                self.running[number].send_signal(signal.SIGHUP)
            except ProcessLookupError:
                pass

    async def keep(self, number: int) -> None:
        """One worker and its successors, until the end."""
        pause, first = FIRST_PAUSE, True
        while not self.stopping.is_set():
            born = time.monotonic()
            try:
                code = await self.once(number, first)
            except OSError as error:  # no memory, no descriptors, or the program is being replaced
                self.say(f"worker {number} can't be started: {error.strerror}")
                code = FAILED
            first = False
            if self.stopping.is_set():
                return
            if code in FINAL or not self.served:
                if code not in FINAL and not self.stopping.is_set():
                    self.say(f"worker {number} ended ({_ended(code)}) before it served")
                self.code = code if code > 0 else FAILED
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
        own = [sock.fileno() for sock in self.shares[number]]
        env = {**self.env, listen.VARIABLE: ",".join(map(str, own)), CONTROL: str(there.fileno()), NUMBER: str(number)}
        env[SILENT] = "" if first and number == 0 else "1"
        with here:
            here.setblocking(False)
            with there:
                process = await asyncio.create_subprocess_exec(
                    *self.command, env=env, pass_fds=(*own, there.fileno()), start_new_session=True
                )
            self.running[number], self.controls[number] = process, here
            if self.stopping.is_set():
                _tell(here, b"d")
            watching = asyncio.ensure_future(self.watch(number, here, process))
            try:
                return await process.wait()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                del self.running[number], self.controls[number]
                self.ready.discard(number)

    async def watch(self, number: int, control: socket.socket, process: asyncio.subprocess.Process) -> None:
        """A worker says that it serves; once all do, so does the whole. One that has said so and falls silent is killed."""
        loop = asyncio.get_running_loop()
        try:
            while heard := await asyncio.wait_for(loop.sock_recv(control, 64), SILENCE if number in self.ready else None):
                if b"r" in heard:
                    self.ready.add(number)
                    self.served = True
                    self._announce()
        except asyncio.TimeoutError:
            self.say(f"worker {number} does not answer: it is killed")
            process.kill()
        except OSError:
            return

    def _announce(self) -> None:
        if len(self.ready) == self.count and not self.announced:
            self.announced = True
            self.notifier.ready(self.url, f"{self.count} workers")
            self.serving()


def _tell(control: socket.socket, word: bytes) -> None:
    try:
        control.send(word)
    except OSError:
        pass


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
    """The worker's end. `number` None: this process is no worker, and nothing here does anything."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.number = int(env[NUMBER]) if env.get(NUMBER, "").isdigit() else None
        self._control = socket.socket(fileno=int(env[CONTROL])) if env.get(CONTROL, "").isdigit() else None
        if self._control is not None:
            self._control.setblocking(False)
            os.set_inheritable(self._control.fileno(), False)

    def ready(self) -> None:
        if self._control is not None:
            _tell(self._control, b"r")

    async def beat(self) -> None:
        while self._control is not None:
            await asyncio.sleep(BEAT)
            _tell(self._control, b".")

    def obey(self, drain: asyncio.Event, now: asyncio.Event) -> None:
        """The parent's words, and its death, set these. Needs a running loop."""
        if self._control is None:
            return
        loop, control = asyncio.get_running_loop(), self._control

        def heard() -> None:
            try:
                words = control.recv(16)
            except BlockingIOError:
                return
            except OSError:
                words = b""
            drain.set()  # every word, and none, means at least that
            if b"n" in words:
                now.set()
            if not words:
                loop.remove_reader(control)

        loop.add_reader(control, heard)
