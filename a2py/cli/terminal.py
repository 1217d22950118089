"""Print to a terminal or a pipe: colours if it is a terminal, tables, errors.

Knows: streams, NO_COLOR, FORCE_COLOR, TERM. Must not know: what is printed.
Invariants:
- No escape sequence reaches a stream that is not a terminal, unless FORCE_COLOR is set. No text brings one of its own
  (see printable.py).
- A message that cannot be written to standard error (a full disk, a dead `| tee`) is lost, and the command goes on. A
  result that cannot be written ends the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from a2py.printable import printable

#: Control characters that a message of several lines or columns may contain.
_LAYOUT = "\n\t"
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def has_colours(stream: TextIO) -> bool:
    """Return whether to use colours on `stream`."""
    env = os.environ
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR", "0") != "0":
        return True
    if env.get("TERM") == "dumb" or (sys.platform == "win32" and "WT_SESSION" not in env):
        return False
    return stream.isatty()


def on_terminal() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def watch_terminal() -> Callable[[], bool]:
    """Return a function that returns whether the terminal on standard input has been closed since.

    Always False without one."""
    had_terminal = on_terminal()
    return lambda: had_terminal and not on_terminal()


def pluralize(number: int, word: str) -> str:
    """Return `1 model` or `2 models`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


class Terminal:
    """`out`: for results. `err`: for messages about them."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self._colours = {id(self.out): has_colours(self.out), id(self.err): has_colours(self.err)}
        #: Placeholder for the start of an escape sequence until the text is written. It is random, so no foreign text
        #: contains it.
        self._mark = f"\0{os.urandom(8).hex()}"

    def style(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """Return `text` in a style, for this Terminal's own methods to write."""
        if not self._colours[id(stream or self.out)]:
            return text
        return f"{self._mark}{_STYLES[style]}m{text}{self._mark}0m"

    def print(self, text: str = "") -> None:
        self._write(self.out, text)

    def note(self, text: str = "") -> None:
        try:
            self._write(self.err, text)
        except (OSError, ValueError):
            pass

    def prompt(self, question: str) -> None:
        """Print a question, without a line break."""
        self._write(self.err, question, "")

    def warn(self, text: str) -> None:
        self.note(f"{self.style('warning:', 'yellow', self.err)} {text}")

    def error(self, text: str) -> None:
        self.note(f"{self.style('a2py:', 'red', self.err)} {text}")

    def print_exact(self, text: str) -> None:
        """Print `text` for a program (a shell, systemd): unchanged, unless it goes to a terminal."""
        if self.out.isatty():
            self.print(text)
        else:
            self._raw(self.out, text + "\n")

    def append(self, text: str) -> None:
        """Print `text`, which need not end with a line break."""
        self._write(self.out, text, "")

    def _write(self, stream: TextIO, text: str, end: str = "\n") -> None:
        self._raw(stream, "\x1b[".join(printable(part, _LAYOUT) for part in text.split(self._mark)) + end)

    def _raw(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except UnicodeEncodeError:
            stream.write(text.encode(stream.encoding or "ascii", "replace").decode(stream.encoding or "ascii"))

    def table(self, rows: Sequence[Sequence[str]], head: Sequence[str] = (), indent: str = "") -> str:
        """Return `rows` in columns as wide as their widest cell. The last column is not padded."""
        lines = [[printable(cell) for cell in row] for row in ((head, *rows) if head else rows)]
        widths = [
            max((len(line[i]) for line in lines if i < len(line)), default=0)
            for i in range(max(map(len, lines), default=0))
        ]
        out = []
        for n, line in enumerate(lines):
            cells = [cell.ljust(widths[i]) if i < len(line) - 1 else cell for i, cell in enumerate(line)]
            text = indent + "  ".join(cells).rstrip()
            out.append(self.style(text, "dim") if head and n == 0 else text)
        return "\n".join(out)
