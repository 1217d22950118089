"""`a2py top`: what runs now, in a terminal, until q or Ctrl-C; one picture where there is no terminal.

Knows: the terminal, the stream of the page's `live`. Must not know: how a picture is drawn (topview.py).
Invariants: the terminal is left as it was, whatever ends the command. Only the part of a picture that fits is drawn.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from a2py.cli import options, pagelink, running
from a2py.cli.exits import FAILED, OK, Stop
from a2py.cli.http import Answer
from a2py.cli.terminal import Terminal, on_terminal
from a2py.cli.topview import View

EXAMPLES = ("a2py top", "a2py top --url http://gateway:4000", "a2py top | head -3                 one picture")
#: Seconds of silence after which the proxy is taken to have ended. It sends a line at least every 15 seconds.
SILENCE = 40.0
#: Seconds between two looks at the keyboard.
LOOK = 0.1
#: Bytes of the longest line that is read.
LINE = 16 * 1024 * 1024
#: Keys that end it.
QUIT = ("q", "Q", "\x03")
#: The signal of Ctrl-Z, 0 where there is none; and all signals before which the terminal must be given back.
SUSPEND = int(getattr(signal, "SIGTSTP", 0))
SIGNALS = tuple(
    int(getattr(signal, name))
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGBREAK")
    if hasattr(signal, name)
)
#: Another screen and no cursor; both as they were; to the top left; to the end of the line, and of the screen.
ENTER, LEAVE, HOME, REST, BELOW = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[K", "\x1b[J"


def parser(name: str) -> options.Parser:
    out = options.Parser(name, "Show what runs now. q ends it.", EXAMPLES)
    return out.flags((running.URL, *options.LISTEN), options.SOURCE)


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    with open_live(args) as (url, lines):
        if terminal.out.isatty() and on_terminal():
            return show(url, lines)
        terminal.print("\n".join(take_picture(url, lines)))
    return OK


@contextmanager
def open_live(args: argparse.Namespace) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Yield the URL of the running a2py, and the lines of its `live`. Raise Stop."""
    link = pagelink.make_link(args)
    bearer = pagelink.begin_session(link)
    parts = urlsplit(link.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SILENCE)
    sock = None
    try:
        with _explain_end(link.url):
            connection.request("GET", parts.path + "/ui/api/live", headers={"authorization": f"Bearer {bearer}"})
            sock = connection.sock
            response = connection.getresponse()
            body = response.read(LINE) if response.status != 200 else b""
        if response.status != 200:
            answer = Answer(response.status, {}, body)
            raise Stop(f"the a2py at {link.url} says: {answer.error_message() or f'HTTP {answer.status}'}", FAILED)
        yield link.url, read_lines(link.url, response)
    finally:
        # Closing the response waits for the lock that the reading thread holds until its recv() returns.
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextmanager
def _explain_end(url: str) -> Iterator[None]:
    """Raise Stop for an error of the connection. What draws is outside of it: its errors are not the connection's."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Stop(f"the a2py at {url} has gone: {error or type(error).__name__}", FAILED) from None


def read_lines(url: str, response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the lines of `live` until it ends. Raise Stop for an error of the connection."""
    while True:
        with _explain_end(url):
            line = response.readline(LINE)
            value = json.loads(line) if line else None
        if not line:
            return
        if isinstance(value, dict):
            yield value


def take_picture(url: str, lines: Iterator[dict[str, Any]]) -> list[str]:
    """Return one picture of what happens now."""
    view = View()
    for line in lines:
        view.add(line)
        if view.is_complete:
            break
    return view.draw(url)


def show(url: str, lines: Iterator[dict[str, Any]]) -> int:
    """Draw each change, and each second, until somebody presses q, a signal comes, or the proxy ends. Return the exit
    code. Raise Stop if the proxy ends."""
    changes: queue.Queue[dict[str, Any] | str] = queue.Queue(maxsize=1000)
    threading.Thread(target=_read, args=(url, lines, changes.put), daemon=True).start()
    view = View()
    with collect_signals() as signals:
        while True:
            with keyboard() as key:
                _follow(url, view, changes, lambda: bool(signals) or key(LOOK) in QUIT)
            if not signals:
                return OK
            if signals[0] != SUSPEND:
                return OK if signals[0] == signal.SIGINT else 128 + signals[0]
            signals.clear()
            suspend()


def _follow(url: str, view: View, changes: queue.Queue[dict[str, Any] | str], should_end: Callable[[], bool]) -> None:
    """Draw each change, and each second, until `should_end`. Raise Stop if there are no more."""
    former = os.terminal_size((0, 0)), 0
    while not should_end():
        is_new = not changes.empty()
        while not changes.empty():
            change = changes.get_nowait()
            if isinstance(change, str):
                raise Stop(change, FAILED)
            view.add(change)
        size = shutil.get_terminal_size()
        present = size, int(time.monotonic())
        if is_new or present != former:
            former = present
            draw(view.draw(url, *size))


def draw(lines: list[str]) -> None:
    """Draw a picture over the one before. Only what is new on a line is seen to change."""
    sys.stdout.write(HOME + f"{REST}\r\n".join(lines) + REST + BELOW)
    sys.stdout.flush()


def _read(url: str, lines: Iterator[dict[str, Any]], put: Callable[[dict[str, Any] | str], None]) -> None:
    """Pass on each line, and at last why there are no more."""
    try:
        for line in lines:
            put(line)
    except Exception as error:  # closed by us, or by the proxy
        put(str(error) or type(error).__name__)
    else:
        put(f"the a2py at {url} has gone: it has ended the connection")


@contextmanager
def collect_signals() -> Iterator[list[int]]:
    """Yield a list to which the signals that would end or stop this process are added instead.

    The third one has its usual effect: the terminal may not accept what gives it back. (A session that ends sends two
    at once.) A signal that is ignored (nohup) stays so."""
    numbers: list[int] = []
    former: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def collect(number: int, frame: FrameType | None) -> None:
        numbers.append(number)
        if number != SUSPEND and len(numbers) > 1:
            restore()

    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                former[number] = signal.signal(number, collect)
        yield numbers
    finally:
        restore()


def suspend() -> None:
    """Stop this process, as Ctrl-Z does, until a shell continues it. The system ignores it if there is no shell."""
    handler = signal.signal(SUSPEND, signal.SIG_DFL)
    os.kill(os.getpid(), SUSPEND)
    signal.signal(SUSPEND, handler)


@contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Take over the terminal. Yield a function that returns the key that is pressed within some seconds, or ""."""
    try:
        sys.stdout.write(ENTER)
        sys.stdout.flush()
        if sys.platform == "win32":
            yield _wait_for_key_windows
            return
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        former = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            yield _wait_for_key
        finally:
            with suppress(termios.error):  # the terminal has been closed
                termios.tcsetattr(descriptor, termios.TCSADRAIN, former)
    finally:
        with suppress(OSError):
            sys.stdout.write(LEAVE)
            sys.stdout.flush()


def _wait_for_key(seconds: float) -> str:
    import select

    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    if not readable:
        return ""
    try:
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") or "q"
    except OSError:  # the terminal has been closed
        return "q"


def _wait_for_key_windows(seconds: float) -> str:
    import msvcrt

    time.sleep(seconds)
    return str(msvcrt.getwch()) if msvcrt.kbhit() else ""  # type: ignore[attr-defined]
