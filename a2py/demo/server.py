"""The demo upstream as a server: `POST /v1/chat/completions`, `GET /v1/models`, on a real socket.

Knows: aiohttp, the clock, randomness. Must not know: what is answered (answer.py) and which requests are refused (protocol.py).
Invariants: nothing is kept between requests; a client that leaves ends its answer.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web

from a2py.demo.generate import Reply, deltas
from a2py.demo.protocol import JSON, Ask, Refused, check, model_row

#: The one model's name, its context in tokens, and the seconds between two tokens (some 80 a second: visibly streamed, never slow).
MODEL, CONTEXT, PACE = "demo", 200_000, 0.012
#: Bytes of a request body.
BODY_LIMIT = 64 * 1024 * 1024


class Demo:
    """The running upstream: `async with Demo() as demo: demo.base` is its API base. `pace`: seconds between tokens; `port` 0: a free one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, pace: float = PACE, context: int = CONTEXT) -> None:
        self._host = host
        self._port = port
        self._pace = pace
        self._context = context
        self._created = int(time.time())
        self._runner: web.AppRunner | None = None
        self.base = ""

    async def __aenter__(self) -> Demo:
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_errors])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._model)
        app.router.add_get("/health", self._health)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
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

    async def _health(self, request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _models(self, request: web.Request) -> web.Response:
        return _json({"object": "list", "data": [model_row(MODEL, self._context, self._created)]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name != MODEL:
            raise Refused(f"The model '{name}' does not exist", "model", "model_not_found", 404)
        return _json(model_row(MODEL, self._context, self._created))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        ask = check(await request.read(), (MODEL,), self._context)
        head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": ask.model,
            "system_fingerprint": "a2py_demo",
        }
        if ask.stream:
            return await self._stream(request, ask, head)
        reply = Reply()
        for _ in deltas(ask, reply, _call_id):
            pass
        choice = {"index": 0, "message": reply.message(), "logprobs": None, "finish_reason": reply.finish}
        return _json({**head, "object": "chat.completion", "choices": [choice], "usage": reply.usage(ask)})

    async def _stream(self, request: web.Request, ask: Ask, head: JSON) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        head["object"] = "chat.completion.chunk"

        async def send(choices: list[JSON], usage: JSON | None = None) -> None:
            chunk = {**head, "choices": choices, "usage": usage} if ask.usage else {**head, "choices": choices}
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")

        def choice(delta: JSON, finish: str | None = None) -> list[JSON]:
            return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

        reply = Reply()
        await send(choice({"role": "assistant", "content": "", "refusal": None}))
        for delta in deltas(ask, reply, _call_id):
            await asyncio.sleep(self._pace)
            await send(choice(delta))
        await send(choice({}, reply.finish))
        if ask.usage:
            await send([], reply.usage(ask))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every refusal in OpenAI's shape, also those of the HTTP server itself."""
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except Refused as refused:
        return web.Response(body=refused.body(), status=refused.status, content_type="application/json")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        words = {
            404: f"Unknown request URL: {request.method} {request.path}.",
            405: f"Not allowed to {request.method} on {request.path}.",
            413: "The request body is too large.",
        }
        body = Refused(words.get(error.status, error.reason)).body()
        return web.Response(body=body, status=error.status, content_type="application/json")
