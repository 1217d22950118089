"""Ask an upstream's own tokenizer how many input tokens a request has.

Knows: vLLM's and llama.cpp's tokenizer endpoints, the native count_tokens. Must not know: how tokens are counted
without an upstream (sizes.py, messages/count.py).
Invariants: a failure is never an error for the client, it means "no answer" (Claude Code takes a 404 of count_tokens as
"count yourself"); a tokenizer that failed is left alone for REST_SECONDS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Call, Prepared
from a2py.proxy.pace import Pace
from a2py.upstream import Upstream
from a2py.wires import wire
from a2py.wires.common.headers import server_root

#: Seconds that a tokenizer may take, and for which one that failed is not asked again.
TOKENIZER_SECONDS, REST_SECONDS = 5.0, 60.0
#: Questions to tokenizers at a time. Claude Code's `/context` counts 26 things at once.
MAX_QUESTIONS = 4


class Tokenizers:
    """`clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float], pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._resting: dict[str, float] = {}  # deployment id → time until which it is not asked
        self._gate = asyncio.Semaphore(MAX_QUESTIONS)

    async def count(self, upstream: Upstream, deployment: Deployment, call: Call) -> int | None:
        """Return the input tokens of `call`; None if `deployment` has no tokenizer, or it does not answer."""
        is_native = deployment.wire == "native" and deployment.quirks.native_count
        ask = _TOKENIZERS.get("native" if is_native else deployment.quirks.tokenizer)
        if ask is None or self._resting.get(deployment.id, 0.0) > self._clock():
            return None
        try:
            # Tokenizers take what chat completions take, whatever the deployment's wire.
            preparing = wire("native" if is_native else "chat").prepare_in_slices(call, deployment, False)
            prepared = await self._pace.run(preparing)
            async with self._gate:
                return await ask(upstream, deployment, prepared)
        except (ApiError, LookupError, TypeError, ValueError):
            self._resting[deployment.id] = self._clock() + REST_SECONDS
            return None


async def _ask_vllm(upstream: Upstream, deployment: Deployment, prepared: Prepared) -> int:
    """vLLM 0.26 (2026): `/tokenize` takes a chat request and returns `count`."""
    body = orjson.loads(prepared.body)
    question = {name: body[name] for name in ("model", "messages", "tools", "chat_template_kwargs") if name in body}
    url = f"{server_root(deployment.base)}/tokenize"
    answer = await upstream.ask(deployment, url, question, prepared.headers, TOKENIZER_SECONDS)
    return int(answer["count"])


async def _ask_llamacpp(upstream: Upstream, deployment: Deployment, prepared: Prepared) -> int:
    """llama.cpp (b6000 and later, 2026): `/apply-template` returns the prompt, `/tokenize` its tokens."""
    body = orjson.loads(prepared.body)
    question = {name: body[name] for name in ("messages", "tools", "chat_template_kwargs") if name in body}
    root = server_root(deployment.base)
    prompt = await upstream.ask(deployment, f"{root}/apply-template", question, prepared.headers, TOKENIZER_SECONDS)
    text = {"content": prompt["prompt"], "add_special": True, "parse_special": True}
    answer = await upstream.ask(deployment, f"{root}/tokenize", text, prepared.headers, TOKENIZER_SECONDS)
    return len(answer["tokens"])


async def _ask_native(upstream: Upstream, deployment: Deployment, prepared: Prepared) -> int:
    """Anthropic's own endpoint, on upstreams that have it. It rejects `max_tokens` and `stream`."""
    body = orjson.loads(prepared.body)
    question = {name: value for name, value in body.items() if name not in ("max_tokens", "stream")}
    url, _, query = prepared.url.partition("?")
    target = f"{url}/count_tokens" + (f"?{query}" if query else "")
    answer = await upstream.ask(deployment, target, question, prepared.headers, TOKENIZER_SECONDS)
    return int(answer["input_tokens"])


_TOKENIZERS: dict[str, Callable[[Upstream, Deployment, Prepared], Awaitable[int]]] = {
    "vllm": _ask_vllm,
    "llamacpp": _ask_llamacpp,
    "native": _ask_native,
}
