"""Ollama's context: what it would cut in silence is refused here, so that the client compacts.

Knows: `/api/ps` and `/api/show` (docs.ollama.com, 2026-10). Must not know: how a prompt is counted.
Invariants: an unknown context refuses nothing; a server that does not answer costs at most PROBE_SECONDS, once a minute; at most KEPT contexts
are kept (behind a wildcard, clients choose the models' names).

Why: Ollama's `/v1` ignores `num_ctx`; a prompt above the loaded context (4,096 by default) loses its beginning, system prompt and tools, without
a word. Claude Code's first request has some 20,000 tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from a2py.deployment import Deployment
from a2py.errors import ApiError

if TYPE_CHECKING:
    from a2py.upstream import Upstream

#: Seconds for one question; seconds for which an answer is believed.
PROBE_SECONDS, BELIEVED = 3.0, 60.0
#: Contexts that are remembered.
KEPT = 256
#: Prompts below this (tokens, estimated) fit any context: nobody is asked.
SMALL = 1500
#: An estimate may be too high by this factor before anything is refused.
DOUBT = 1.25


class Contexts:
    """`clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[int, float]] = {}

    async def check(self, upstream: Upstream, deployment: Deployment, estimate: int) -> None:
        """Raises `ApiError` (context_overflow) for a prompt that the server would cut."""
        if deployment.quirks.context_probe != "ollama" or estimate < SMALL:
            return
        size = await self.size(upstream, deployment)
        if size and estimate > size * DOUBT:
            raise ApiError(
                "context_overflow",
                f"prompt is too long: {estimate} tokens > {size} maximum (Ollama has loaded {deployment.model} with that context and would cut the"
                " prompt in silence; start it with a larger OLLAMA_CONTEXT_LENGTH)",
            )

    async def size(self, upstream: Upstream, deployment: Deployment) -> int:
        """Tokens of the context that is loaded, or would be; 0: unknown."""
        key = (deployment.base, deployment.model)
        size, until = self._known.get(key, (0, 0.0))
        if until > self._clock():
            return size
        size = await _probe(upstream, deployment)
        self._known.pop(key, None)
        self._known[key] = (size, self._clock() + BELIEVED)
        if len(self._known) > KEPT:
            del self._known[next(iter(self._known))]  # the oldest
        return size


async def _probe(upstream: Upstream, deployment: Deployment) -> int:
    at = deployment.base.removesuffix("/v1")
    headers = {"authorization": f"Bearer {deployment.key}"} if deployment.key else {}
    try:
        running = await upstream.ask(deployment, f"{at}/api/ps", None, headers, PROBE_SECONDS)
        for row in running.get("models") or ():
            if deployment.model in (row.get("name"), row.get("model"), str(row.get("name")).removesuffix(":latest")):
                return _number(row.get("context_length"))
        shown = await upstream.ask(deployment, f"{at}/api/show", {"model": deployment.model}, headers, PROBE_SECONDS)
    except (ApiError, AttributeError, ValueError):
        return 0
    for line in str(shown.get("parameters") or "").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx":
            return _number(value.strip())
    return 0


def _number(value: Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return 0


def cut(deployment: Deployment, estimate: int, counted: int) -> bool:
    """Whether an upstream that cuts in silence seems to have done so."""
    return deployment.quirks.context_probe == "ollama" and estimate >= SMALL and 0 < counted < estimate / 2
