"""The demo upstream as a server: `POST /v1/chat/completions`, `GET /v1/models`, on a real socket.

Knows: aiohttp, the clock, randomness. Must not know: what is answered (answer.py), which requests are rejected
(protocol.py).
Invariants: no state outlives a request; a client that disconnects ends its answer.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web

from a2py.demo.answer import answer
from a2py.demo.generate import count_usage, join_deltas, make_deltas
from a2py.demo.protocol import JSON, RequestError, parse_request

#: The only model's name and its context in tokens.
MODEL, CONTEXT = "demo", 200_000
#: Seconds between two tokens: some 80 a second, visibly streamed and never slow.
PACE = 0.012
#: Largest request body, bytes.
MAX_BODY = 64 << 20


class Demo:
    """The running upstream: `async with Demo() as demo` listens, and `demo.base` is its API base.

    `pace`: seconds between tokens; `port`: 0 for a free one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, pace: float = PACE, context: int = CONTEXT) -> None:
        self._host = host
        self._port = port
        self._pace = pace
        self._context = context
        self._created = int(time.time())
        self._runner: web.AppRunner | None = None
        self.base = ""

    async def __aenter__(self) -> Demo:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_format_errors])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", _health)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.base = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _models(self, request: web.Request) -> web.Response:
        row = {
            "id": MODEL,
            "object": "model",
            "created": self._created,
            "owned_by": "a2py",
            "context_length": self._context,
        }
        return _json({"object": "list", "data": [row]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        chat = parse_request(await request.read(), MODEL, self._context)
        deltas, finish = make_deltas(chat, answer(chat), f"call_{secrets.token_hex(12)}")
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": MODEL}
        usage = count_usage(chat.prompt_tokens, deltas)
        if not chat.is_stream:
            choice = {"index": 0, "message": join_deltas(deltas), "logprobs": None, "finish_reason": finish}
            return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        head["object"] = "chat.completion.chunk"
        choices = [_choice({"role": "assistant", "content": "", "refusal": None}), *map(_choice, deltas)]
        chunks: list[JSON] = [{**head, "choices": choice} for choice in [*choices, _choice({}, finish)]]
        if chat.has_usage:
            chunks = [*({**chunk, "usage": None} for chunk in chunks), {**head, "choices": [], "usage": usage}]
        return await self._stream(request, chunks)

    async def _stream(self, request: web.Request, chunks: list[JSON]) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        for chunk in chunks:
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
            await asyncio.sleep(self._pace)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def _choice(delta: JSON, finish: str | None = None) -> list[JSON]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


async def _health(request: web.Request) -> web.Response:
    return _json({"status": "ok"})


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


@web.middleware
async def _format_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer every error in OpenAI's shape, also those of the HTTP server itself (404, 405, 413)."""
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except RequestError as error:
        refusal = error
    except web.HTTPException as error:
        refusal = RequestError(f"{request.method} {request.path}: {error.reason}", status=error.status)
    return web.Response(body=refusal.body(), status=refusal.status, content_type="application/json")
