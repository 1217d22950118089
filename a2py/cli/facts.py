"""Ask a server about itself: its models list, and the context that a model really has.

Knows: `/models` of OpenAI-compatible servers, `/props` of llama.cpp (docs read 2026-11). Ollama's own API is in
a2py.proxy. Must not know: probes, what a number means for a client.
Invariants: a failed lookup is not an error. The only secret that is sent is the deployment's own key, to its own host.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy.context import Contexts
from a2py.upstream import Upstream
from a2py.wires.common.headers import build_headers

#: Seconds for one lookup.
SECONDS = 15.0
#: Keys of a row in a models list that hold the context.
CONTEXT_KEYS = (
    "max_model_len",  # vLLM, SGLang
    "context_length",  # OpenRouter, Together, the demo
    "context_window",  # Groq
    "max_context_length",  # LM Studio
    "max_input_tokens",  # Anthropic, LiteLLM
)


class Facts(NamedTuple):
    """`status`: of the models list, 0 if no server answered. `names`: the models in it. `context`: in tokens, 0 if
    unknown.
    `source`: where the context comes from."""

    status: int = 0
    names: tuple[str, ...] = ()
    context: int = 0
    source: str = ""


async def gather(upstream: Upstream, dep: Deployment, seconds: float = SECONDS) -> Facts:
    """Return what the server of `dep` says about itself. Each lookup takes at most `seconds`."""
    base = dep.base + ("/v1" if dep.wire == "native" else "")
    status, body = await _ask(upstream, dep, f"{base}/models" + (f"?{dep.query}" if dep.query else ""), seconds)
    rows = _model_rows(body)
    names = tuple(row["id"] for row in rows)
    if dep.quirks.context_probe == "ollama":
        size = await Contexts(time.monotonic).size(upstream, dep)
        if size:
            return Facts(status, names, size, "Ollama")
    row = next((row for row in rows if row["id"] == dep.model), {})
    key = _context_key(row)
    if key:
        return Facts(status, names, row[key], f"the models list ({key})")
    if dep.quirks.tokenizer == "llamacpp" or any(row.get("owned_by") == "llamacpp" for row in rows):
        size = await _ask_slot_size(upstream, dep, base, seconds)
        if size:
            return Facts(status, names, size, "llama.cpp (n_ctx of one slot)")
    return Facts(status, names)


def _model_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a models list that have an id."""
    data = body.get("data")
    rows = data if isinstance(data, list) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]


def _context_key(row: dict[str, Any]) -> str:
    """Return the key of a row that holds the context, "" if there is none."""
    return next((key for key in CONTEXT_KEYS if isinstance(row.get(key), int) and row[key] > 0), "")


async def _ask_slot_size(upstream: Upstream, dep: Deployment, base: str, seconds: float) -> int:
    """Return the context of one slot of a llama.cpp server, 0 if it does not say it."""
    _, props = await _ask(upstream, dep, f"{urlsplit(base).scheme}://{urlsplit(base).netloc}/props", seconds)
    settings = props.get("default_generation_settings")
    size = settings.get("n_ctx") if isinstance(settings, dict) else None
    return size if isinstance(size, int) and size > 0 else 0


async def _ask(upstream: Upstream, dep: Deployment, url: str, seconds: float) -> tuple[int, dict[str, Any]]:
    try:
        return 200, await upstream.ask(dep, url, None, build_headers(dep, False), seconds)
    except ApiError as error:
        return error.status, {}
    except ValueError:
        return 200, {}
