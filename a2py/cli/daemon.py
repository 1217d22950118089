"""`a2py start`, `stop`, `restart`, `status`, `logs`: a proxy in the background.

Knows: processes, the record of the running proxy (record.py), its log. Must not know: what is served.
Invariants: each state directory has at most one proxy, and a second start finds the first. `start` returns once the
proxy answers, or with the reason why it does not. It then leaves nothing behind, also after Ctrl-C.
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
from a2py.cli.lastflags import has_source, merge_flags
from a2py.cli.notify import PIPE
from a2py.cli.record import Record, end, is_zombie, paths, read_latest, read_running, read_start_time
from a2py.cli.serve import parser as serve_parser
from a2py.cli.source import obtain_consent, read_environment
from a2py.cli.terminal import Terminal
from a2py.cli.workers import build_command as command_line

#: START_SECONDS: a new proxy must serve within this time. STOP_SECONDS: a stopped one must be gone this long after its
#: drain.
START_SECONDS, STOP_SECONDS = 60.0, 15.0
#: How long `stop` waits for running answers, in seconds. The proxy's own drain_seconds usually ends them earlier.
DRAIN_SECONDS = 300.0
#: How many lines `logs` prints.
LINES = 40
EXAMPLES = {
    "start": ("a2py start", "a2py start --config litellm_config.yaml --port 4000"),
    "stop": ("a2py stop", "a2py stop --now         (without waiting for running answers)"),
    "restart": (
        "a2py restart               (with the flags of the last start)",
        "a2py restart --port 4001   (the other flags stay as they are)",
    ),
    "status": ("a2py status", "a2py status --json"),
    "logs": ("a2py logs", "a2py logs -f", "a2py logs -n 200"),
}


def parser(name: str) -> options.Parser:
    if name in ("start", "restart"):
        out = serve_parser(name)
        out.epilog = "examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[name])
        out.description = (
            "Start the proxy in the background, with the flags of serve."
            if name == "start"
            else "Replace the proxy in the background by a new one, with the flags of the last start; a flag "
            "given here replaces "
            "the one of the last start. The new proxy takes over the port, and the old one ends after its running "
            "answers, so "
            "no connection is refused. If the new one can't start, the old one continues. If none is running, one "
            "is started."
        )
        return out
    if name == "stop":
        out = options.Parser(
            name, "Stop the proxy in the background, after its running answers have ended.", EXAMPLES[name]
        )
        out.add_argument("--now", action="store_true", help="do not wait for running answers")
        out.add_argument(
            "--seconds",
            type=float,
            default=DRAIN_SECONDS,
            metavar="S",
            help=(
                f"how long to wait for them (default {DRAIN_SECONDS:.0f}; the proxy's drain_seconds ends them earlier)"
            ),
        )
    elif name == "status":
        description = "Say whether a proxy runs in the background, whether it answers, and what it serves."
        out = options.Parser(name, description, EXAMPLES[name])
        out.add_argument("--json", action="store_true", help="as JSON, for a program")
    else:
        out = options.Parser(name, "Print the log of the proxy in the background.", EXAMPLES[name])
        out.add_argument("-f", "--follow", action="store_true", help="print new lines as they come (Ctrl-C ends that)")
        out.add_argument(
            "-n", "--lines", type=int, default=LINES, metavar="N", help=f"how many lines (default {LINES})"
        )
    return out


def run(name: str, argv: list[str]) -> int:
    if sys.platform == "win32":
        raise Stop(
            f"`a2py {name}` is not available on Windows: run `a2py` in a window of its own, or as a scheduled task"
        )
    commands: dict[str, Callable[[list[str], Terminal], int]] = {
        "start": start,
        "stop": stop,
        "restart": restart,
        "status": status,
        "logs": logs,
    }
    return commands[name](argv, Terminal())


# -- start and stop --------------------------------------------------------------------------------------------


def start(argv: list[str], terminal: Terminal) -> int:
    args = parser("start").read(argv)
    if read_running() is None:
        obtain_consent(args, read_environment(), os.getcwd())
    with state.lock("daemon"):
        running = read_running()
        if running is not None:
            hint = "" if running.argv == argv else " (a2py restart takes new flags)"
            terminal.print(f"running already: pid {running.pid} at {running.url}{hint}")
            return OK
        record = _spawn(argv, os.getcwd())
    terminal.print(f"started: pid {record.pid} at {record.url}, log {paths()[1]}")
    return OK


def _spawn(argv: Sequence[str], cwd: str, sockets: Sequence[socket.socket] = ()) -> Record:
    """Start a new proxy, and return its record once it serves. `sockets`: taken over from the proxy before it.

    The proxy writes its record itself and then one line into the pipe: an empty one, or why it could not."""
    log = paths()[1]
    reader, writer = os.pipe()
    size = os.path.getsize(log) if os.path.exists(log) else 0
    env = {**os.environ, PIPE: str(writer), rotate.VARIABLE: log, handover.VARIABLE: _offer()}
    numbers = [sock.fileno() for sock in sockets]
    env[listen.VARIABLE] = ",".join(map(str, numbers))
    process = record = None
    with os.fdopen(reader, encoding="utf-8") as pipe:
        try:
            with os.fdopen(writer, "w"), state.open_log(log) as out, _delay_interrupt():
                process = subprocess.Popen(
                    command_line(["serve", *argv]),
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(writer, *numbers),
                    start_new_session=True,
                )
            line = pipe.readline() if select.select([pipe], [], [], START_SECONDS)[0] else ""
            if line == "\n":
                record = read_running()
            if record is None:
                code = 0 if line or not _wait_for_exit(process.pid, 1.0, process) else process.wait()
                reason = line.strip() or _tail(log, size)
                raise Stop(f"the proxy did not start:\n{reason}", code if code > 0 else FAILED)
        except OSError as error:
            raise Stop(f"no process can be started in {cwd}: {error.strerror}", FAILED) from None
        finally:
            if record is None and process is not None:
                _end(process)
    process.returncode = 0  # it outlives this process, so Popen must not warn that it still runs
    return record


@contextmanager
def _delay_interrupt() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block. In the middle of Popen() it would leave a process that nobody knows."""
    signals: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: signals.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if signals:
        raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that did not start as it should, or is no longer wanted."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: str, since: int) -> str:
    """Return the last lines written to `log` after byte `since`."""
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(since if os.path.getsize(log) >= since else 0)
        return "\n".join(file.read().splitlines()[-10:])


def _wait_for_exit(pid: int, seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Return whether a process ends within `seconds`."""
    deadline = time.monotonic() + seconds
    birth = read_start_time(pid)
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if (
            process is None and birth and (read_start_time(pid) != birth or is_zombie(pid))
        ):  # another process, or only its exit code
            return True
        time.sleep(0.05)
    return False


def stop(argv: list[str], terminal: Terminal) -> int:
    args = parser("stop").read(argv)
    with state.lock("daemon"):
        record = read_running()
        if record is None:
            terminal.print("not running")
            return OK
        _stop(record, args.now, args.seconds)
    terminal.print(f"stopped: pid {record.pid}")
    return OK


def _stop(record: Record, now: bool, seconds: float) -> None:
    """Stop a proxy. Its record stays: it has the flags for the next `restart`, and is ignored otherwise."""
    for _ in range(2 if now else 1):
        end(record.pid)
        if _wait_for_exit(record.pid, 0.5 if now else seconds):
            break
    if not _wait_for_exit(record.pid, STOP_SECONDS):
        os.kill(record.pid, signal.SIGKILL)
        if not _wait_for_exit(record.pid, STOP_SECONDS):
            raise Stop(f"pid {record.pid} does not end, not even after SIGKILL: see `ps -p {record.pid}`", FAILED)


def restart(argv: list[str], terminal: Terminal) -> int:
    reader = parser("restart")
    reader.read(argv)
    before = read_latest()
    flags, cwd = _flags_and_folder(reader, argv, before)
    obtain_consent(reader.read(flags), read_environment(), cwd)
    with state.lock("daemon"), ExitStack() as stack:
        record = read_running()
        sockets = [stack.enter_context(sock) for sock in handover.take(_offer())] if record is not None else []
        if record is not None and not sockets:
            _stop(record, False, DRAIN_SECONDS)
        try:
            new = _spawn(flags, cwd, sockets)
        except Stop as stop:
            if record is None or not sockets:
                raise
            raise Stop(f"{stop}\nthe old one continues: pid {record.pid}", stop.code) from None
    terminal.print(f"started: pid {new.pid} at {new.url}, log {paths()[1]}")
    if record is not None and sockets:
        terminal.note(f"pid {record.pid} ends after its running answers")
    return OK


def _flags_and_folder(reader: options.Parser, argv: list[str], before: Record | None) -> tuple[list[str], str]:
    """Return the flags of a restart, and the folder in which the new proxy runs.

    It runs where the last one was started, unless the new flags say what to serve."""
    if before is None:
        return argv, os.getcwd()
    if not argv:
        return before.argv, before.cwd
    cwd = os.getcwd() if has_source(reader, argv) else before.cwd
    return merge_flags(reader, (before.argv, before.cwd), (argv, os.getcwd())), cwd


def _offer() -> str:
    """Return the path at which the proxy offers its sockets."""
    return os.path.join(state.state_dir(os.environ), "daemon.sock")


# -- status and logs -------------------------------------------------------------------------------------------


def status(argv: list[str], terminal: Terminal) -> int:
    args = parser("status").read(argv)
    record = read_running()
    answers = record is not None and _answers(record.url)
    if args.json:
        data = {"running": record is not None, "answers": answers, **(asdict(record) if record is not None else {})}
        terminal.print(json.dumps({**data, "log": paths()[1]}, indent=2))
    elif record is None:
        terminal.print("not running")
    else:
        hours, seconds = divmod(int(time.time() - record.started), 3600)
        age = f"{hours} h {seconds // 60} min" if hours else f"{seconds // 60} min {seconds % 60} s"
        problem = "" if answers else ", but it does not answer: a2py logs"
        terminal.print(f"running: pid {record.pid} at {record.url}, for {age}{problem}")
        for line in filter(None, (record.serves, record.trouble)):
            terminal.print(line)
    return OK if answers else FAILED if record is not None else NOT_RUNNING


def _answers(url: str) -> bool:
    if url.startswith("https:"):
        return True  # not checked: its certificate may be for another name
    answer = http.ask(url + "/health/liveliness")
    return answer is not None and answer.status == 200


def logs(argv: list[str], terminal: Terminal) -> int:
    args = parser("logs").read(argv)
    log = paths()[1]
    try:
        file = open(log, encoding="utf-8", errors="replace")  # noqa: SIM115  (closed below)
    except (FileNotFoundError, NotADirectoryError):
        raise Stop(f"there is no log yet: {log}", FAILED) from None
    except OSError as error:
        raise Stop(f"{log} can't be read: {error.strerror}", FAILED) from None
    with file:
        lines = file.read().splitlines()
        for line in lines[max(0, len(lines) - args.lines) :]:
            terminal.print(line)
        if args.follow:
            follow(file, log, terminal)
    return OK


def follow(file: TextIO, log: str, terminal: Terminal, has_ended: Callable[[], bool] = lambda: False) -> None:
    """Print what is written to `log` after `file`'s position, until Ctrl-C (`has_ended`, in tests).

    When the log is moved aside, the old file is read on, too: other workers notice the move later, and write there
    until then."""
    files = [file]
    try:
        while not has_ended():
            is_moved = _is_moved(files[-1], log)
            text = "".join(each.read() for each in files)
            terminal.append(text)
            if is_moved:
                for old in files[:-1]:
                    old.close()
                files = [files[-1], open(log, encoding="utf-8", errors="replace")]  # noqa: SIM115
            elif not text:
                time.sleep(0.2)
    finally:
        for each in files:
            each.close()


def _is_moved(file: TextIO, log: str) -> bool:
    """Return whether `log` is another file by now."""
    try:
        return os.stat(log).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
