"""The one exception of the configuration.

Knows: how a mistake in a file is told. Must not know: what any key means.
Invariants: its text never holds a value of the file, only places, key paths and kinds of value.
"""

from __future__ import annotations


class ConfigError(Exception):
    """`file`: as the user named it; `line`, `column`: from 1, 0 where unknown; `path`: the key (`router_settings.num_retries`), "" where
    none is meant; `message`: what is wrong; `cure`: what to do. Its `str` has one to three lines."""

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, column: int = 0, path: str = "", cure: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.cure = cure

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f", line {self.line}, column {self.column}"
        lines = [f"{place}: {self.message}" if place else self.message]
        if self.path:
            lines.append(f"  key: {self.path}")
        if self.cure:
            lines.append(f"  cure: {self.cure}")
        return "\n".join(lines)
