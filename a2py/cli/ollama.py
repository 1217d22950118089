"""Find a running Ollama, and one of its models that an agent can use.

Knows: Ollama's own API (`/api/tags`, `/api/show`, docs read 2026-11), OLLAMA_API_BASE, OLLAMA_HOST.
Must not know: how it is served.
Invariants: on a machine without Ollama, this costs one refused connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from a2py.cli import http

PORT = 11434
#: How many models are asked for their capabilities. The list is newest first, so the first few are the ones in use.
MAX_ASKED = 8


class Ollama(NamedTuple):
    """`base`: without /v1.

    `model`: the first with tools, else the first. `tools`: whether it has tools. `names`: of all models."""

    base: str
    model: str
    tools: bool
    names: tuple[str, ...]


def base(env: Mapping[str, str]) -> str:
    """Return Ollama's address: OLLAMA_API_BASE, else OLLAMA_HOST, else its default port on this machine.

    OLLAMA_HOST is an address to listen on: 0.0.0.0 means this machine."""
    url = env.get("OLLAMA_API_BASE", "").strip().rstrip("/").removesuffix("/v1")
    if url:
        return url
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
    """Return the Ollama that answers there, None if there is none or it has no model for chats."""
    url = base(env)
    answer = http.ask(url + "/api/tags", timeout=timeout)
    body = answer.json() if answer is not None and answer.status == 200 else None
    rows = body.get("models") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        return None
    names = [row["name"] for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    chat_models = []
    for name in names[:MAX_ASKED]:
        capabilities = _capabilities(url, name)
        if "tools" in capabilities:
            return Ollama(url, name, True, tuple(names))
        if not capabilities or "completion" in capabilities:  # an old Ollama lists no capabilities
            chat_models.append(name)
    chat_models += names[MAX_ASKED:]
    return Ollama(url, chat_models[0], False, tuple(names)) if chat_models else None


def _capabilities(url: str, name: str) -> list[str]:
    answer = http.ask(url + "/api/show", body={"model": name})
    body = answer.json() if answer is not None and answer.status == 200 else None
    words = body.get("capabilities") if isinstance(body, dict) else None
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
