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
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from a2py.cli import options, pagelink, running
from a2py.cli.exits import FAILED, OK, Stop
from a2py.cli.http import Answer
from a2py.cli.terminal import Terminal
from a2py.cli.topview import View

EXAMPLES = ("a2py top", "a2py top --url http://gateway:4000", "a2py top | head -3                 one picture")
#: Seconds of silence after which the proxy is taken to have ended. It sends a line at least every 15 seconds.
SILENCE = 40.0
#: Seconds between two looks at the keyboard.
LOOK = 0.1
#: Bytes of the longest line that is read.
LINE = 16 * 1024 * 1024
#: Another screen and no cursor; both as they were; to the top left; to the end of the line, and of the screen.
ENTER, LEAVE, HOME, REST, BELOW = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[K", "\x1b[J"


def parser(name: str) -> options.Parser:
    out = options.Parser(name, "Show what runs now. q ends it.", EXAMPLES)
    return out.flags((running.URL, *options.LISTEN), options.SOURCE)


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    with open_live(args) as (url, lines):
        if terminal.out.isatty() and sys.stdin is not None and sys.stdin.isatty():
            show(url, lines)
        else:
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
        connection.request("GET", parts.path + "/ui/api/live", headers={"authorization": f"Bearer {bearer}"})
        sock = connection.sock
        response = connection.getresponse()
        if response.status != 200:
            answer = Answer(response.status, {}, response.read(LINE))
            raise Stop(f"the a2py at {link.url} says: {answer.error_message() or f'HTTP {answer.status}'}", FAILED)
        yield link.url, read_lines(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Stop(f"the a2py at {link.url} has gone: {error or type(error).__name__}", FAILED) from None
    finally:
        # Closing the response waits for the lock that the reading thread holds until its recv() returns.
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        connection.close()


def read_lines(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the lines of `live` until it ends."""
    while line := response.readline(LINE):
        value = json.loads(line)
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


def show(url: str, lines: Iterator[dict[str, Any]]) -> None:
    """Draw each change, and each second, until somebody presses q, or the proxy ends. Raise Stop then."""
    changes: queue.Queue[dict[str, Any] | str] = queue.Queue(maxsize=1000)
    threading.Thread(target=_read, args=(lines, changes.put), daemon=True).start()
    view, former = View(), (os.terminal_size((0, 0)), 0)
    with keyboard() as key, suppress(KeyboardInterrupt):
        while key(LOOK) not in ("q", "Q", "\x03"):
            is_new = not changes.empty()
            while not changes.empty():
                change = changes.get_nowait()
                if isinstance(change, str):
                    raise Stop(f"the a2py at {url} has gone: {change}", FAILED)
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


def _read(lines: Iterator[dict[str, Any]], put: Callable[[dict[str, Any] | str], None]) -> None:
    """Pass on each line, and at last why there are no more."""
    try:
        for line in lines:
            put(line)
    except Exception as error:  # closed by us, or by the proxy
        put(str(error) or type(error).__name__)
    else:
        put("it has ended the connection")


@contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Take over the terminal. Yield a function that returns the key that is pressed within some seconds, or ""."""
    sys.stdout.write(ENTER)
    sys.stdout.flush()
    try:
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
            termios.tcsetattr(descriptor, termios.TCSADRAIN, former)
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def _wait_for_key(seconds: float) -> str:
    import select

    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") or "q" if readable else ""


def _wait_for_key_windows(seconds: float) -> str:
    import msvcrt

    time.sleep(seconds)
    return str(msvcrt.getwch()) if msvcrt.kbhit() else ""  # type: ignore[attr-defined]
