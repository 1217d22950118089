"""Tool names: as OpenAI-compatible servers take them, and back.

Knows: the rule `[A-Za-z0-9_-]`, at most 64 characters (OpenAI's function names), and the shortened form.
Must not know: where names stand in a request.
Invariants: the mapping is a function of the name alone, so that tools, tool_choice and history agree, turn after turn.
"""

from __future__ import annotations

import hashlib
import re

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


class Names:
    """`sent(name)`: the name to send; `back`: sent name → the client's, where they differ."""

    __slots__ = ("_limit", "back")

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self.back: dict[str, str] = {}

    def sent(self, name: str) -> str:
        clean = _ILLEGAL.sub("_", name)
        if clean == name and len(name) <= self._limit and name:
            return name
        mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        short = f"{clean[: self._limit - 9]}_{mark}"
        self.back[short] = name
        return short
