"""Tool names that OpenAI-compatible servers accept, and the way back.

Knows: OpenAI's rule for function names (`[A-Za-z0-9_-]`, at most 64 characters), the short form of a name that breaks
it, and what chat templates leave around a name in a reply.
Must not know: where a request has names.
Invariants: the short form depends on the name alone, so that tools, tool_choice and history agree in every turn.

Example: `mcp.server/tool` becomes `mcp_server_tool_` and 8 digits of its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
#: A name with a token of a chat template behind it, or harmony's namespace before it: `Bash</arg_value>` (GLM 5.2),
#: `Bash<|channel|>commentary`, `Bash<|constrain|>json` and `functions.Bash` (gpt-oss on vLLM, 2026-01).
_WITH_TOKENS = re.compile(r"(?:functions\.)?([A-Za-z0-9_-]+)(?:<[/|｜]?\w.*)?", re.DOTALL)


class Names:
    """`back`: name in the request → the client's name, for each that differs."""

    __slots__ = ("_limit", "back")

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self.back: dict[str, str] = {}

    def to_upstream(self, name: str) -> str:
        """Return the name to send for the client's `name`."""
        clean = _ILLEGAL.sub("_", name)
        if clean == name and len(name) <= self._limit and name:
            return name
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        short = f"{clean[: self._limit - 9]}_{digest}"
        self.back[short] = name
        return short


class CalledNames:
    """The names of tools in a reply. `back`: name in the request → the client's; `request_names`: names in the
    request."""

    __slots__ = ("_back", "_request_names")

    def __init__(self, back: Mapping[str, str], request_names: frozenset[str]) -> None:
        self._back = back
        self._request_names = request_names

    def read(self, name: str) -> str:
        """Return the client's name for `name`; "" if it is suspect: only `settle` tells, at the end of the reply."""
        return "" if self.is_suspect(name) else self._back.get(name, name)

    def is_suspect(self, name: str) -> bool:
        """Return whether no tool has this name, and one has it without the tokens around it."""
        return name not in self._request_names and self._bare(name) in self._request_names

    def settle(self, name: str, is_cut: bool) -> str:
        """Return the client's name for a suspect one. In a reply that was cut (`is_cut`) it stays as it came."""
        bare = name if is_cut else self._bare(name)
        return self._back.get(bare, bare)

    def _bare(self, name: str) -> str:
        match = _WITH_TOKENS.fullmatch(name)
        return match[1] if match else ""
