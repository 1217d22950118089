"""Draw what the page's `live` says, for a terminal.

Knows: columns, widths. Must not know: where the lines come from, keys, escape sequences.
Invariants: a text of a request or a configuration never brings an escape sequence (see printable.py); no line is wider,
and no picture higher, than it may be.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from a2py.printable import printable

#: Requests that have ended and are shown.
MAX_HISTORY = 200
JSON = dict[str, Any]


class View:
    """What is known so far. `add` takes the lines of `live`. `clock`: monotonic seconds. A line that would say nothing
    new is not sent, so times go on by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offset = 0.0  # the proxy's time less `clock`
        self._state_time = 0.0  # when the deployments were told, by `clock`
        self.hello: JSON = {}
        self.now: JSON = {}
        self.deployments: list[JSON] = []
        self.history: deque[JSON] = deque(maxlen=MAX_HISTORY)

    def add(self, line: Mapping[str, Any]) -> None:
        kind = line.get("type")
        if kind == "hello":
            self.hello = dict(line)
            self._offset = line["time"] - self._clock()
        elif kind == "now":
            self.now = dict(line)
            self._offset = line["time"] - self._clock()
        elif kind == "state":
            self.deployments = list(line.get("deployments", ()))
            self._state_time = self._clock()
        elif kind == "request":
            self.history.append(dict(line))

    @property
    def is_complete(self) -> bool:
        """Whether there is something of everything to show."""
        return bool(self.hello and self.now)

    def draw(self, url: str, width: int = 0, height: int = 0) -> list[str]:
        """Return the lines of the picture. `width`, `height`: at most so many, 0 for no limit."""
        lines = [self._head(url), self._minute(), "", *self._running(), "", *self._problems(), *self._history()]
        while lines and not lines[-1]:
            lines.pop()
        lines = [line[:width] if width else line for line in lines]
        return lines[:height] if height else lines

    def _head(self, url: str) -> str:
        now = self._clock() + self._offset
        up = max(0, int(now - float(self.hello.get("started", now))))
        workers = self.hello.get("workers", 1)
        parts = [f"a2py {self.hello.get('version', '')} at {url}", f"up {_duration(up)}"]
        if workers != 1:
            parts.append(f"{workers} workers")
        return _clean("   ".join(parts))

    def _minute(self) -> str:
        minute = self.now.get("minute", {})
        cost = minute.get("cost")
        parts = [
            f"running {len(self.now.get('running', ())) + self.now.get('more_running', 0)}",
            f"waiting {self.now.get('waiting', 0)}",
            f"connections {self.now.get('connections', 0)}",
            f"last minute: {minute.get('requests', 0):,} requests, {minute.get('errors', 0):,} errors,"
            f" {minute.get('input_tokens', 0):,} in, {minute.get('output_tokens', 0):,} out,"
            f" {'cost unknown' if cost is None else f'${cost:,.4f}'}",
        ]
        return "   ".join(parts)

    def _running(self) -> list[str]:
        now = self._clock() + self._offset
        head = ("MODEL", "DEPLOYMENT", "ROUTE", "KEY", "FOR", "FIRST", "TOKENS", "TOK/S", "")
        rows = [
            (
                one["model"],
                one["deployment"],
                one["route"],
                one["key"],
                f"{max(0.0, now - one['started']):.1f} s",
                _seconds(one["first_token"]),
                f"{one['output_tokens']:,}",
                str(one["tokens_per_second"] or ""),
                f"place {one['place']}" if one["place"] else f"attempt {one['attempt']}" if one["attempt"] > 1 else "",
            )
            for one in self.now.get("running", ())
        ]
        more = self.now.get("more_running", 0)
        return [*(_table((head, *rows)) if rows else ["nothing runs"]), *([f"and {more} more"] if more else [])]

    def _problems(self) -> list[str]:
        out, elapsed = [], self._clock() - self._state_time
        for one in self.deployments:
            name = f"{one['name']} ({one['id']})"
            if one["problem"]:
                out.append(f"{name}: {one['problem']}")
            if one["cooldown"]:
                seconds = max(0.0, one["cooldown"]["seconds"] - elapsed)
                out.append(f"{name}: is not asked for {seconds:.0f} s ({one['cooldown']['reason']})")
            out += [f"{name}: learned {lesson['changes']}" for lesson in one["lessons"]]
        return [*map(_clean, out), ""] if out else []

    def _history(self) -> list[str]:
        head = ("TIME", "STATUS", "MODEL", "DEPLOYMENT", "IN", "OUT", "FIRST", "SECONDS", "ERROR")
        rows = [
            (
                time.strftime("%H:%M:%S", time.localtime(row["time"])),
                str(row["status"]),
                row["model"],
                row["deployment"],
                f"{row['input_tokens'] + row['cache_read_tokens'] + row['cache_write_tokens']:,}",
                f"{row['output_tokens']:,}",
                _seconds(row["first_token"]),
                f"{row['seconds']:.1f}",
                row["error"],
            )
            for row in reversed(self.history)
        ]
        return _table((head, *rows)) if rows else []


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[_clean(cell)[:48] for cell in row[:-1]] + [_clean(row[-1])] for row in rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    return ["  ".join(cell.ljust(widths[n]) for n, cell in enumerate(line)).rstrip() for line in lines]


def _clean(text: str) -> str:
    """Return `text` on one line, without what a terminal would obey."""
    return printable(str(text))


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {seconds % 60} s"
