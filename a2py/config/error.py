"""The one exception of the configuration.

Knows: how a mistake in a file is reported. Must not know: what any key means.
Invariants: one line; never a secret: values.py decides which texts of the file are shown.
"""

from __future__ import annotations


class ConfigError(Exception):
    """A mistake in a configuration file.

    `file`: as the user named it; `line`, `column`: from 1, 0 if unknown; `path`: the key (`router_settings.timeout`),
    "" if the mistake is in no key; `message`: what is wrong; `cure`: a sentence that says what to write. Example:

        litellm_config.yaml:7: `a2py.unasked_thinking` must be show or hide, got 'no'. Write `unasked_thinking: show`.
    """

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
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f"`{self.path}` " if self.path else ""
        sentence = f"{key}{self.message}."
        return f"{place + ': ' if place else ''}{sentence}{' ' + self.cure if self.cure else ''}"
