"""`a2py start`, `stop`, `restart`, `status`, `logs`: a proxy in the background.

Knows: processes, the record of the one that runs (XDG state), its log. Must not know: what is served.
Invariants: there is one daemon a state directory: a second start finds the first; `start` returns once the proxy answers, or with the reason
why it does not, and leaves nothing behind then, nor where Ctrl-C ends it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TextIO

from a2py.cli import handover, http, listen, options, rotate, state
from a2py.cli.exits import FAILED, NOT_RUNNING, OK, Stop
from a2py.cli.notify import PIPE
from a2py.cli.record import Record, born, current, end, paths, zombie
from a2py.cli.serve import parser as serve_parser
from a2py.cli.source import obtain_consent, process_env
from a2py.cli.terminal import Terminal
from a2py.cli.workers import command as again

#: Seconds until a new daemon must serve; seconds beyond its own drain until a stopped one must be gone.
START_SECONDS, STOP_SECONDS = 60.0, 15.0
#: Lines that `logs` shows.
LINES = 40
EXAMPLES = {
    "start": ("a2py start", "a2py start --config litellm_config.yaml --port 4000"),
    "stop": ("a2py stop", "a2py stop --now         (without waiting for running answers)"),
    "restart": ("a2py restart               (with the flags of the last start; nobody is refused)", "a2py restart --port 4001"),
    "status": ("a2py status", "a2py status --json"),
    "logs": ("a2py logs", "a2py logs -f", "a2py logs -n 200"),
}


def run(name: str, argv: list[str]) -> int:
    if sys.platform == "win32":
        raise Stop(f"a2py {name} is not there on Windows: run `a2py` in a window of its own, or as a scheduled task")
    commands: dict[str, Callable[[list[str], Terminal], int]] = {
        "start": start,
        "stop": stop,
        "restart": restart,
        "status": status,
        "logs": logs,
    }
    return commands[name](argv, Terminal())


@contextmanager
def alone() -> Iterator[None]:
    """One start or stop at a time."""
    import fcntl

    directory = state.make_private(state.state_dir(os.environ))
    with state.writing(directory):
        lock = open(os.path.join(directory, "daemon.lock"), "w")  # noqa: SIM115  (closed below)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# -- start and stop ------------------------------------------------------------------------------------------------------


def start(argv: list[str], shown: Terminal) -> int:
    parser = serve_parser("start")
    parser.description, parser.epilog = "Start the proxy in the background, with the flags of serve.", _examples("start")
    args = parser.read(argv)
    if current() is None:
        obtain_consent(args, process_env(), os.getcwd())
    with alone():
        running = current()
        if running is not None:
            shown.print(
                f"running already: pid {running.pid} at {running.url}" + ("" if running.argv == argv else " (a2py restart takes new flags)")
            )
            return OK
        record = _spawn(argv, os.getcwd())
    shown.print(f"started: pid {record.pid} at {record.url}, log {paths()[1]}")
    return OK


def _spawn(argv: Sequence[str], cwd: str, handed: Sequence[socket.socket] = ()) -> Record:
    """A new daemon, once it serves; `handed`: the sockets of the one before it. It writes its own record."""
    log = paths()[1]
    reader, writer = os.pipe()
    size = os.path.getsize(log) if os.path.exists(log) else 0
    env = {**os.environ, PIPE: str(writer), rotate.VARIABLE: log, handover.VARIABLE: _offer()}
    numbers = [sock.fileno() for sock in handed]
    env[listen.VARIABLE] = ",".join(map(str, numbers))
    process = record = None
    with os.fdopen(reader, encoding="utf-8") as pipe:
        try:
            with os.fdopen(writer, "w"), state.open_log(log) as out, _undisturbed():
                process = subprocess.Popen(
                    again(["serve", *argv]),
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(writer, *numbers),
                    start_new_session=True,
                )
            told = pipe.readline() if select.select([pipe], [], [], START_SECONDS)[0] else ""
            if told == "\n":
                record = current()
            if record is None:
                code = 0 if told or not _gone(process.pid, 1.0, process) else process.wait()
                raise Stop(f"the proxy did not start:\n{told.strip() or _tail(log, size)}", code if code > 0 else FAILED)
        except OSError as error:
            raise Stop(f"no process can be started in {cwd}: {error.strerror}", FAILED) from None
        finally:
            if record is None and process is not None:
                _end(process)
    process.returncode = 0  # it outlives us: nothing is to be waited for
    return record


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: in the middle of Popen() it would leave a process that nobody knows."""
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """One that has not started as it should, or is no longer wanted."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: str, since: int) -> str:
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(since if os.path.getsize(log) >= since else 0)
        return "\n".join(file.read().splitlines()[-10:])


def _gone(pid: int, seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Whether a process ends within `seconds`."""
    until = time.monotonic() + seconds
    first = born(pid)
    while time.monotonic() < until:
        if process is not None and process.poll() is not None:
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if process is None and first and (born(pid) != first or zombie(pid)):
            return True
        time.sleep(0.05)
    return False


def stop(argv: list[str], shown: Terminal) -> int:
    parser = options.Parser("stop", "Stop the proxy that runs in the background; running answers may end.", EXAMPLES["stop"])
    parser.add_argument("--now", action="store_true", help="end running answers at once")
    parser.add_argument(
        "--seconds",
        type=float,
        default=300.0,
        metavar="S",
        help="how long to wait for them (default 300; the proxy's drain_seconds ends them)",
    )
    args = parser.read(argv)
    with alone():
        record = current()
        if record is None:
            shown.print("not running")
            return OK
        _stop(record, args.now, args.seconds)
    shown.print(f"stopped: pid {record.pid}")
    return OK


def _stop(record: Record, now: bool, seconds: float) -> None:
    for _ in range(2 if now else 1):
        end(record.pid)
        if _gone(record.pid, 0.5 if now else seconds):
            break
    if not _gone(record.pid, STOP_SECONDS):
        os.kill(record.pid, signal.SIGKILL)
        if not _gone(record.pid, STOP_SECONDS):
            raise Stop(f"pid {record.pid} does not end, not even killed", FAILED)
    try:
        os.unlink(paths()[0])
    except FileNotFoundError:
        pass


def restart(argv: list[str], shown: Terminal) -> int:
    parser = serve_parser("restart")
    parser.description, parser.epilog = (
        "Put a new proxy in the place of the one in the background; without flags with those of the last start. The new one takes the "
        "port over, the old one ends once its running answers have: nobody is refused. If the new one can't start, the old one goes on.",
        _examples("restart"),
    )
    args, record = parser.read(argv), current()
    new_args = args if argv or record is None else parser.read(record.argv)
    obtain_consent(new_args, process_env(), record.cwd if record is not None and not argv else os.getcwd())
    with alone(), ExitStack() as stack:
        record = current()
        handed = [stack.enter_context(sock) for sock in handover.take(_offer())] if record is not None else []
        if record is not None and not handed:
            _stop(record, False, 300.0)
        again_with = argv or (record.argv if record is not None else [])
        try:
            new = _spawn(again_with, record.cwd if record is not None and not argv else os.getcwd(), handed)
        except Stop as stop:
            raise Stop(
                f"{stop}\nthe old one goes on: pid {record.pid}" if record is not None and handed else str(stop), stop.code
            ) from None
    shown.print(f"started: pid {new.pid} at {new.url}, log {paths()[1]}")
    if record is not None and handed:
        shown.note(f"pid {record.pid} ends once its running answers have")
    return OK


def _offer() -> str:
    """Where the daemon offers its sockets."""
    return os.path.join(state.state_dir(os.environ), "daemon.sock")


def _examples(name: str) -> str:
    return "examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[name])


# -- status and logs -----------------------------------------------------------------------------------------------------


def status(argv: list[str], shown: Terminal) -> int:
    parser = options.Parser("status", "Say whether a proxy runs in the background, and whether it answers.", EXAMPLES["status"])
    parser.add_argument("--json", action="store_true", help="as JSON, for a program")
    args = parser.read(argv)
    record = current()
    answers = record is not None and _answers(record.url)
    if args.json:
        told = {"running": record is not None, "answers": answers, **(asdict(record) if record is not None else {}), "log": paths()[1]}
        shown.print(json.dumps(told, indent=2))
    elif record is None:
        shown.print("not running")
    else:
        hours, seconds = divmod(int(time.time() - record.started), 3600)
        age = f"{hours} h {seconds // 60} min" if hours else f"{seconds // 60} min {seconds % 60} s"
        shown.print(f"running: pid {record.pid} at {record.url}, for {age}" + ("" if answers else ", but it does not answer: a2py logs"))
        if record.trouble:
            shown.print(record.trouble)
    return OK if answers else FAILED if record is not None else NOT_RUNNING


def _answers(url: str) -> bool:
    if url.startswith("https:"):
        return True  # its certificate need not hold for this machine's name
    answer = http.ask(url + "/health/liveliness")
    return answer is not None and answer.status == 200


def logs(argv: list[str], shown: Terminal) -> int:
    parser = options.Parser("logs", "Show the log of the proxy in the background.", EXAMPLES["logs"])
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows (Ctrl-C ends that)")
    parser.add_argument("-n", "--lines", type=int, default=LINES, metavar="N", help=f"how many (default {LINES})")
    args = parser.read(argv)
    log = paths()[1]
    try:
        file = open(log, encoding="utf-8", errors="replace")  # noqa: SIM115  (followed below, and opened anew when it is moved aside)
    except (FileNotFoundError, NotADirectoryError):
        raise Stop(f"there is no log yet: {log}", FAILED) from None
    except OSError as error:
        raise Stop(f"{log} can't be read: {error.strerror}", FAILED) from None
    with file:
        lines = file.read().splitlines()
        for line in lines[max(0, len(lines) - args.lines) :]:
            shown.print(line)
        if args.follow:
            follow(file, log, shown)
    return OK


def follow(file: TextIO, log: str, shown: Terminal, ended: Callable[[], bool] = lambda: False) -> None:
    """What is written to `log` from `file`'s place on, also once it has been moved aside; until `ended` (Ctrl-C).

    The one before it is read on: other workers find out later that it has been moved, and write there until then."""
    files = [file]
    try:
        while not ended():
            moved = _moved(files[-1], log)
            text = "".join(each.read() for each in files)
            shown.append(text)
            if moved:
                for old in files[:-1]:
                    old.close()
                files = [files[-1], open(log, encoding="utf-8", errors="replace")]  # noqa: SIM115
            elif not text:
                time.sleep(0.2)
    finally:
        for each in files:
            each.close()


def _moved(file: TextIO, log: str) -> bool:
    try:
        return os.stat(log).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
