"""Refuse a prompt that Ollama would cut silently, so that the client compacts it instead.

Ollama's `/v1` ignores `num_ctx`. A prompt above the loaded context (4,096 tokens by default) loses its beginning, with
the system prompt and the tools, and the answer does not say so. Claude Code's first request has some 20,000 tokens.

Knows: `/api/ps` and `/api/show` (docs.ollama.com, 2026-10). Must not know: how a prompt is counted.
Invariants: an unknown context refuses nothing; a server that does not answer costs at most PROBE_SECONDS, once a
minute; at most MAX_CONTEXTS are remembered (with a wildcard, clients choose the models' names).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.upstream import Upstream
from a2py.wires.common.headers import build_headers, server_root
from a2py.wires.refusal.message import BARE_OVERFLOW

#: Seconds for one question; seconds for which its answer is used.
PROBE_SECONDS, FRESH_SECONDS = 3.0, 60.0
#: How many contexts are remembered.
MAX_CONTEXTS = 256
#: Prompts of fewer tokens (estimated) fit into any context: nobody is asked.
SMALL_PROMPT = 1500
#: An estimate may be too high by this factor before a prompt is refused.
TOLERANCE = 1.25


class Contexts:
    """`clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sizes: dict[tuple[str, str], tuple[int, float]] = {}  # (base, model) → (tokens, use until)

    async def check(self, upstream: Upstream, deployment: Deployment, tokens: int) -> None:
        """Raise `ApiError` (context_overflow) if the server would cut a prompt of `tokens`."""
        if deployment.quirks.context_probe != "ollama" or tokens < SMALL_PROMPT:
            return
        size = await self.size(upstream, deployment)
        if size and tokens > size * TOLERANCE:
            raise ApiError(
                "context_overflow",
                f"{BARE_OVERFLOW}: {tokens} tokens > {size} maximum (Ollama has loaded {deployment.model} with that"
                " context and would cut the prompt in silence; start it with a larger OLLAMA_CONTEXT_LENGTH)",
            )

    async def size(self, upstream: Upstream, deployment: Deployment) -> int:
        """Return the tokens of the context that is loaded, or would be; 0 if it is unknown."""
        key = (deployment.base, deployment.model)
        size, expiry = self._sizes.get(key, (0, 0.0))
        if expiry > self._clock():
            return size
        size = await _probe(upstream, deployment)
        self._sizes.pop(key, None)  # so that the new entry becomes the last one
        self._sizes[key] = (size, self._clock() + FRESH_SECONDS)
        if len(self._sizes) > MAX_CONTEXTS:
            del self._sizes[next(iter(self._sizes))]  # the oldest
        return size


async def _probe(upstream: Upstream, deployment: Deployment) -> int:
    """Return the context of the running model, else of the model's parameters; 0 if neither is known."""
    root = server_root(deployment.base)
    headers = build_headers(deployment, False)
    try:
        running = await upstream.ask(deployment, f"{root}/api/ps", None, headers, PROBE_SECONDS)
        for row in running.get("models") or ():
            if deployment.model in (row.get("name"), row.get("model"), str(row.get("name")).removesuffix(":latest")):
                return _parse_size(row.get("context_length"))
        details = await upstream.ask(
            deployment, f"{root}/api/show", {"model": deployment.model}, headers, PROBE_SECONDS
        )
    except (ApiError, AttributeError, ValueError):
        return 0
    for line in str(details.get("parameters") or "").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx":
            return _parse_size(value.strip())
    return 0


def _parse_size(value: Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return 0


def is_cut(deployment: Deployment, estimate: int, input_tokens: int) -> bool:
    """Return whether the server seems to have cut a prompt: it counted `input_tokens`, less than half of what was
    estimated."""
    return deployment.quirks.context_probe == "ollama" and estimate >= SMALL_PROMPT and 0 < input_tokens < estimate / 2
