"""The one exception of this package."""

from __future__ import annotations


class BadResponse(ValueError):
    """The server's bytes are not a response that can be understood in one way only.

    The message never repeats bytes of the response, because they may be hostile or secret. `pieces`: the pieces
    of the body that came in the same read before the fault. They are valid, like those of earlier reads."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.pieces: list[bytes] = []
