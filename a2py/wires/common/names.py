"""Tool names that OpenAI-compatible servers accept, and the way back.

Knows: OpenAI's rule for function names (`[A-Za-z0-9_-]`, at most 64 characters), and the short form of a name that
breaks it.
Must not know: where a request has names.
Invariants: the short form depends on the name alone, so that tools, tool_choice and history agree in every turn.

Example: `mcp.server/tool` becomes `mcp_server_tool_` and 8 digits of its hash.
"""

from __future__ import annotations

import hashlib
import re

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


class Names:
    """`back`: name in the request → the client's name, for each that differs."""

    __slots__ = ("_limit", "back")

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self.back: dict[str, str] = {}

    def sent(self, name: str) -> str:
        """Return the name to send for the client's `name`."""
        clean = _ILLEGAL.sub("_", name)
        if clean == name and len(name) <= self._limit and name:
            return name
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        short = f"{clean[: self._limit - 9]}_{digest}"
        self.back[short] = name
        return short
