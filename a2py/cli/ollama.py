"""Whether an Ollama runs on this machine, and which of its models can be an agent's.

Knows: Ollama's own API (`/api/tags`, `/api/show`, docs read 2026-11), OLLAMA_API_BASE, OLLAMA_HOST. Must not know: how it is served.
Invariants: a machine without Ollama costs one refused connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from a2py.cli import http

PORT = 11434
#: Models that are looked at for tools; the list is newest first, so that the first few are those in use.
LOOKED_AT = 8


class Ollama(NamedTuple):
    """`base`: without /v1; `model`: the first with tools (else the first); `tools`: whether it has them; `names`: all."""

    base: str
    model: str
    tools: bool
    names: tuple[str, ...]


def base(env: Mapping[str, str]) -> str:
    """Where Ollama would be: OLLAMA_API_BASE, else OLLAMA_HOST (an address to listen on: 0.0.0.0 means this machine), else its port here."""
    given = env.get("OLLAMA_API_BASE", "").strip().rstrip("/").removesuffix("/v1")
    if given:
        return given
    host = env.get("OLLAMA_HOST", "").strip().rstrip("/")
    if not host:
        return f"http://127.0.0.1:{PORT}"
    parts = urlsplit(host if "://" in host else f"http://{host}")
    try:
        port = parts.port or PORT
    except ValueError:
        port = PORT
    name = parts.hostname or "127.0.0.1"
    name = "127.0.0.1" if name in ("0.0.0.0", "::") else name
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def find(env: Mapping[str, str], timeout: float = 0.5) -> Ollama | None:
    """The Ollama that answers there with at least one model that chats."""
    where = base(env)
    answer = http.ask(where + "/api/tags", timeout=timeout)
    listed = answer.json() if answer is not None and answer.status == 200 else None
    rows = listed.get("models") if isinstance(listed, dict) else None
    names = [row["name"] for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)] if isinstance(rows, list) else []
    chatting = []
    for name in names[:LOOKED_AT]:
        can = _capabilities(where, name)
        if "tools" in can:
            return Ollama(where, name, True, tuple(names))
        if not can or "completion" in can:
            chatting.append(name)
    chatting += names[LOOKED_AT:]
    return Ollama(where, chatting[0], False, tuple(names)) if chatting else None


def _capabilities(where: str, name: str) -> list[str]:
    answer = http.ask(where + "/api/show", body={"model": name})
    shown = answer.json() if answer is not None and answer.status == 200 else None
    can = shown.get("capabilities") if isinstance(shown, dict) else None
    return [word for word in can if isinstance(word, str)] if isinstance(can, list) else []
