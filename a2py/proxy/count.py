"""POST /v1/messages/count_tokens: the upstream's own tokenizer where it has one, else an estimate that real replies calibrate.

Knows: vLLM's and llama.cpp's tokenizer endpoints, the native count_tokens. Must not know: how an estimate is made (messages/count.py).
Invariants: never a 404, never an upstream's error: whatever fails, an estimate is the answer (Claude Code takes a 404 as "count yourself").
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import orjson

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Call, Prepared
from a2py.wires import wire

if TYPE_CHECKING:
    from a2py.proxy.app import Proxy
    from a2py.upstream import Upstream

#: Seconds that a tokenizer may take, and for which one that failed is not asked again.
TOKENIZER_SECONDS, REST_SECONDS = 5.0, 60.0
#: Tokenizer questions at a time: `/context` of Claude Code counts 26 things at once.
AT_A_TIME = 4


class Counter:
    """Asks tokenizers. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._resting: dict[str, float] = {}  # deployment id → until when
        self._gate = asyncio.Semaphore(AT_A_TIME)

    async def count(self, proxy: Proxy, call: Call) -> int:
        """Input tokens of `call`, at least 1."""
        try:
            deployment = proxy.lessons.taught(proxy.config.resolve(call.request.model)[0])
        except ApiError:
            return max(1, await proxy.counted(call.request, ""))
        exact = await self._exact(proxy, call, deployment)
        return max(1, exact if exact is not None else await proxy.counted(call.request, deployment.model))

    async def _exact(self, proxy: Proxy, call: Call, deployment: Deployment) -> int | None:
        native = deployment.wire == "native" and deployment.quirks.native_count
        ask = _TOKENIZERS.get("native" if native else deployment.quirks.tokenizer)
        if ask is None or self._resting.get(deployment.id, 0.0) > self._clock():
            return None
        try:  # tokenizers take what chat completions take, whatever the deployment's wire
            prepared = await proxy.pace.run(wire("native" if native else "chat").prepare_in_slices(call, deployment, False))
            async with self._gate:
                return await ask(proxy.upstream, deployment, prepared)
        except (ApiError, LookupError, TypeError, ValueError):
            self._resting[deployment.id] = self._clock() + REST_SECONDS
            return None


def root(base: str) -> str:
    """The server below which the OpenAI endpoints lie: vLLM's and llama.cpp's own stand beside `/v1`."""
    return base.removesuffix("/v1")


async def _vllm(upstream: Upstream, deployment: Deployment, prepared: Prepared) -> int:
    """vLLM 0.26 (2026): `/tokenize` takes a chat request and gives `count`."""
    body = orjson.loads(prepared.body)
    question = {name: body[name] for name in ("model", "messages", "tools", "chat_template_kwargs") if name in body}
    answer = await upstream.ask(deployment, f"{root(deployment.base)}/tokenize", question, prepared.headers, TOKENIZER_SECONDS)
    return int(answer["count"])


async def _llamacpp(upstream: Upstream, deployment: Deployment, prepared: Prepared) -> int:
    """llama.cpp (b6000 and later, 2026): `/apply-template` gives the prompt, `/tokenize` its tokens."""
    body = orjson.loads(prepared.body)
    question = {name: body[name] for name in ("messages", "tools", "chat_template_kwargs") if name in body}
    at = root(deployment.base)
    prompt = await upstream.ask(deployment, f"{at}/apply-template", question, prepared.headers, TOKENIZER_SECONDS)
    text = {"content": prompt["prompt"], "add_special": True, "parse_special": True}
    answer = await upstream.ask(deployment, f"{at}/tokenize", text, prepared.headers, TOKENIZER_SECONDS)
    return len(answer["tokens"])


async def _native(upstream: Upstream, deployment: Deployment, prepared: Prepared) -> int:
    """Anthropic's own endpoint, on upstreams that have it; it takes neither `max_tokens` nor `stream`."""
    body = orjson.loads(prepared.body)
    question = {name: value for name, value in body.items() if name not in ("max_tokens", "stream")}
    url, _, query = prepared.url.partition("?")
    target = f"{url}/count_tokens" + (f"?{query}" if query else "")
    answer = await upstream.ask(deployment, target, question, prepared.headers, TOKENIZER_SECONDS)
    return int(answer["input_tokens"])


_TOKENIZERS: dict[str, Callable[[Upstream, Deployment, Prepared], Awaitable[int]]] = {
    "vllm": _vllm,
    "llamacpp": _llamacpp,
    "native": _native,
}
