"""A scripted backend of the page: the files of a2py/ui and made-up data, as the page's HTTP contract has them.

Knows: the contract's paths and shapes, many rows, long bodies, hostile texts. Must not know: a2py's own server.
Use: `async with Fake(rows=10_000) as fake: fake.link`; as a program: `python -m tests.ui.fake --port 8123`.
Invariants: the same arguments give the same data. /ui* has the headers that a2py sends there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

FILES = Path(__file__).resolve().parents[2] / "a2py" / "ui"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "json": "application/json"}
#: Texts that a script would be made of, if the page wrote markup. Each would set `window.hacked`.
HOSTILE = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=2">',
    "<svg/onload=window.hacked=3>",
    "javascript:window.hacked=4",
    "</textarea><iframe srcdoc='<script>parent.hacked=5</script>'>",
    "{{constructor.constructor('window.hacked=6')()}}",
    "' onfocus='window.hacked=7' autofocus='",
    "\u202e<b style=color:red onmouseover=window.hacked=8>\u0000\ufeff]]>",
)
MODELS = ("sonnet", "haiku", "opus", "gpt", "qwen-coder")
ENDS = ("end_turn", "tool_use", "tool_use", "max_tokens")
Json = dict[str, Any]


class Fake:
    """`rows`: requests before the page opened; `body`: bytes of the newest request's body; `hostile`: all texts are."""

    def __init__(self, rows: int = 300, body: int = 20_000, *, hostile: bool = False, port: int = 0) -> None:
        self.random = random.Random(7)
        self.hostile = hostile
        self.body = body
        self.port = port
        self.bearers: set[str] = set()
        self.tokens: set[str] = set()
        self.requests: list[tuple[str, Any]] = []
        self.lives: list[tuple[web.StreamResponse, asyncio.Event]] = []
        self.began = time.time()
        self.rows = [self.row(n, self.began - (rows - n) * 7) for n in range(rows)]

    # -- data ----------------------------------------------------------------------------------------------------------

    def text(self, text: str, n: int = 0) -> str:
        return f"{HOSTILE[n % len(HOSTILE)]} {text}" if self.hostile else text

    def row(self, n: int, when: float) -> Json:
        pick = self.random
        model = MODELS[pick.randrange(len(MODELS))]
        error = "overloaded" if n % 23 == 5 else "cancelled" if n % 41 == 7 else None
        seconds = round(pick.uniform(0.8, 14), 3)
        cache_read = pick.choice([0, 18_000, 41_000])
        return {
            "type": "request",
            "id": f"req_{n:06d}",
            "worker": n % 2,
            "time": round(when, 3),
            "model": self.text(model, n),
            "deployment": self.text(f"{model}-{'ab'[n % 2]}", n + 1),
            "upstream": self.text(f"vendor/{model}-2026", n + 2),
            "wire": "chat",
            "route": self.text("background", n) if n % 9 == 0 else None,
            "status": {"overloaded": 529, "cancelled": 499}.get(error or "", 200),
            "stop_reason": None if error else ENDS[n % 4],
            "error": self.text(error, n) if error and self.hostile else error,
            "attempts": 2 if n % 11 == 3 else 1,
            "key": self.text(("ann", "bob", "ci")[n % 3], n),
            "session": self.text(f"5b3e1f0{n // 12 % 10}-77aa-4c1d-{n // 12:04x}", n),
            "agent": self.text("agent-7c1", n) if n % 5 == 0 else None,
            "input_tokens": pick.randrange(200, 9000),
            "cache_read_tokens": cache_read,
            "cache_write_tokens": pick.choice([0, 1200]),
            "output_tokens": pick.randrange(20, 2500),
            "thinking_tokens": pick.choice([0, 0, 300]),
            "estimated": n % 17 == 0,
            "cost": None if model == "qwen-coder" else round(pick.uniform(0.0004, 0.2), 6),
            "first_token": None if error == "overloaded" else round(seconds * 0.2, 3),
            "seconds": seconds,
            "degraded": [self.text("thinking.budget_tokens", n)] if n % 13 == 0 else [],
            "recorded": True,
        }

    def state(self) -> Json:
        facts = [
            {"name": self.text("supports_tools"), "value": True, "source": "server", "reason": self.text("/props says so"), "date": "2026-11-30"},
            {"name": "max_context", "value": 131072, "source": "refusal", "reason": self.text("maximum context length is 131072", 3), "date": "2026-11-28"},
        ]  # fmt: skip
        lessons = [{"changes": self.text("max_tokens → max_completion_tokens"), "reason": self.text("400: unsupported", 5), "seconds_left": 2400}]  # fmt: skip
        deployments = []
        for n, model in enumerate(MODELS):
            limits = (
                {"rpm": 60, "tpm": 400_000, "max_parallel": 4}
                if n % 2 == 0
                else {"rpm": 0, "tpm": 0, "max_parallel": 0}
            )
            deployments.append(
                {
                    "id": f"d{n}", "name": self.text(model, n), "provider": "openrouter", "model": self.text(f"{model}-2026", n),
                    "wire": "chat", "running": n % 3, "used": {"rpm": 12 * n, "tpm": 91_000, "max_parallel": n % 3}, "limits": limits,
                    "problem": self.text("401 from the upstream: is the key right?", n) if n == 3 else None,
                    "cooldown": {"seconds": 41, "reason": self.text("429 twice in a row", n)} if n == 1 else None,
                    "facts": facts[: n % 3], "lessons": lessons if n == 2 else [],
                }
            )  # fmt: skip
        keys = [
            {"name": self.text("ann"), "is_admin": True, "models": [], "spent": 4.2, "budget": 20, "period": "30d", "renews": self.began + 9e5},
            {"name": self.text("ci", 4), "is_admin": False, "models": [self.text("haiku", 2)], "spent": 9.1, "budget": 10, "period": "7d", "rpm": 30},
            {"name": self.text("bob", 6), "is_admin": False, "models": [], "spent": None, "budget": None},
        ]  # fmt: skip
        return {"type": "state", "deployments": deployments, "keys": keys}

    def now(self, n: int) -> Json:
        running = [
            {"id": f"run{k}", "worker": k % 2, "model": self.text(MODELS[k], k), "deployment": self.text(f"{MODELS[k]}-a", k),
             "route": self.text("background", k) if k == 1 else None, "key": self.text("ann", k), "session": self.text("5b3e1f00-77aa", k), "agent": None, "started": self.began - 3 * k,
             "first_token": None if k == 2 else 0.42, "output_tokens": 31 * (n + k), "tokens_per_second": None if k == 2 else 52.4 + k,
             "place": 2 if k == 3 else None, "attempt": 1 + k % 2}
            for k in range(4)
        ]  # fmt: skip
        minute = {"requests": 18 + n % 7, "errors": n % 3, "input_tokens": 412_000 + 900 * n, "output_tokens": 9_400 + 37 * n, "cost": None if self.hostile else 0.21}  # fmt: skip
        return {
            "type": "now",
            "time": time.time(),
            "running": running,
            "minute": minute,
            "waiting": 1,
            "connections": 9,
        }

    def request_body(self) -> str:
        tools = [{"name": self.text(name, 1), "description": self.text(f"Use {name}. " * 20, 2), "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}} for name in ("Read", "Edit", "Bash", "Grep")]  # fmt: skip
        words = 'The quick brown fox \\ "jumps" over\nthe lazy dog; '
        messages: list[Json] = [{"role": "user", "content": self.text("Fix the failing test in tests/test_sse.py", 1)}]
        while len(json.dumps(messages)) < self.body:
            n = len(messages)
            size = 400 if self.body < 1 << 20 else 60_000
            messages.append({"role": "assistant", "content": [{"type": "thinking", "thinking": self.text("Look first.", n), "signature": "s"}, {"type": "tool_use", "id": f"toolu_{n}", "name": self.text("Read", n), "input": {"file_path": self.text("/src/sse.py", n)}}]})  # fmt: skip
            messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": self.text((words * 2000)[:size], n)}]})  # fmt: skip
        system = [
            {"type": "text", "text": self.text("You are Claude Code. " * 20), "cache_control": {"type": "ephemeral"}}
        ]
        return json.dumps({"model": self.text("sonnet"), "max_tokens": 32000, "stream": True, "system": system, "tools": tools, "messages": messages})  # fmt: skip

    def events(self, text: str) -> list[str]:
        words = [word + " " for word in text.split(" ")]
        events: list[Json] = [
            {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": [], "usage": {"input_tokens": 812, "cache_read_input_tokens": 41_000, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": self.text("The parser cuts at CRLF.", 2)}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            *({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": word}} for word in words),
            {"type": "content_block_stop", "index": 1},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_9", "name": self.text("Edit", 3), "input": {}}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": json.dumps({"file_path": self.text("/src/sse.py")})}},
            {"type": "content_block_stop", "index": 2},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 164}},
            {"type": "message_stop"},
        ]  # fmt: skip
        return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]

    def part(self, name: str) -> Json:
        if name.endswith("request") or name.startswith("upstream_request"):
            return {"text": self.request_body(), "pieces": [], "truncated": False}
        answer = self.text(
            "I found it: the reader splits the event at the carriage return, so the data line is read twice.", 4
        )
        if name == "client_reply":
            return {"text": "".join(self.events(answer)), "pieces": [], "truncated": False}
        chunks = [f'data: {json.dumps({"choices": [{"index": 0, "delta": {"content": word + " "}}]})}\n\n' for word in answer.split()]  # fmt: skip
        pieces = [[round(420 + 31.5 * n + (380 if n > 12 else 0), 1), len(chunk)] for n, chunk in enumerate(chunks)]
        return {"text": "".join(chunks), "pieces": pieces, "truncated": self.hostile}

    def detail(self, row: Json) -> Json:
        changes = [
            {"kind": "renamed", "path": "max_tokens", "to": "max_completion_tokens", "from_value": "32000", "to_value": "32000", "because": self.text("gpt-5 and newer refuse max_tokens", 1), "doc": "translation.md#a12"},
            {"kind": "dropped", "path": "system[0].cache_control", "to": None, "from_value": '{"type": "ephemeral"}', "to_value": None, "because": self.text("this upstream caches by itself", 2), "doc": "translation.md#a16"},
            {"kind": "added", "path": "", "to": "stream_options", "from_value": None, "to_value": self.text('{"include_usage": true}', 4), "because": "usage comes at the end of the stream", "doc": "translation.md#a18"},
            {"kind": "changed", "path": self.text("messages[2].content", 5), "to": "messages[3]", "from_value": "tool_result", "to_value": "role: tool", "because": self.text("quirk tool_role", 6), "doc": self.text("", 3)},
        ]  # fmt: skip
        headers = [["content-type", "application/json"], [self.text("x-app", 1), self.text("cli", 2)], ["authorization", "Bearer …"]]  # fmt: skip
        attempts = [
            {"number": 1, "deployment": self.text("sonnet-a", 1), "upstream": "vendor", "url": self.text("https://upstream.example/v1/chat/completions", 3), "wire": "chat", "status": 429, "headers": headers, "request_headers": headers, "start": 0.31, "head": 0.52, "end": 0.53, "error": self.text("rate_limit", 2), "retry": self.text("another deployment of the name", 7), "changes": changes[:2]},
            {"number": 2, "deployment": self.text("sonnet-b", 2), "upstream": "vendor", "url": "https://other.example/v1/chat/completions", "wire": "chat", "status": 200, "headers": headers, "request_headers": headers, "start": 0.53, "head": 0.93, "end": row["seconds"], "error": None, "retry": None, "changes": changes},
        ]  # fmt: skip
        context = [{"kind": "system", "label": "system prompt", "tokens": 3100}]
        context += [{"kind": "tool", "label": self.text(name, 1), "tokens": 900 + 77 * k} for k, name in enumerate(("Read", "Edit", "Bash", "Grep", "WebSearch"))]  # fmt: skip
        for k in range(12):
            context += [{"kind": "turn", "label": self.text(f"turn {k + 1}", k), "tokens": 210 + 30 * k}, {"kind": "result", "label": self.text(f"Read, turn {k + 1}", k), "tokens": 1900 - 60 * k}]  # fmt: skip
        context.append({"kind": "image", "label": "image/png", "tokens": 1568})
        parts = [{"name": name, "bytes": self.body if "request" in name else 4_200, "truncated": False} for name in ("client_request", "upstream_request.1", "upstream_request.2", "upstream_reply.1", "upstream_reply.2", "client_reply")]  # fmt: skip
        return {
            **row,
            "client": {"method": "POST", "path": "/v1/messages?beta=true", "headers": headers},
            "attempts": attempts,
            "waits": [{"start": 0.0, "end": 0.31, "place": 2}],
            "searches": [{"query": self.text("asyncio CRLF event stream", 3), "start": 1.2, "end": 1.9, "results": 5, "error": None}],
            "context": context,
            "parts": parts,
        }  # fmt: skip

    def usage(self, by: str) -> Json:
        names = [f"2026-11-{day:02d}" for day in range(10, 31)] if by in ("day", "hour") else [self.text(f"{by}-{n}", n) for n in range(7)]  # fmt: skip
        pick = random.Random(by)
        groups = [
            {by: name, "requests": pick.randrange(40, 900), "errors": pick.randrange(9), "input_tokens": pick.randrange(10**5, 10**6), "cache_read_tokens": pick.randrange(10**6), "cache_write_tokens": pick.randrange(10**5), "output_tokens": pick.randrange(10**5), "cost": None if n % 5 == 2 else round(pick.uniform(0.4, 30), 4), "estimated": 3 if n == 4 else 0, "known_cost": 1.25, "unpriced": 0}
            for n, name in enumerate(names)
        ]  # fmt: skip
        return {"by": by, "groups": groups}

    # -- serving -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Fake:
        app = web.Application(middlewares=[self.guard])
        app.router.add_get("/ui", self.file)
        app.router.add_get("/ui/{name:(app\\.js|app\\.css|rules\\.json)}", self.file)
        app.router.add_post("/ui/api/session", self.session)
        app.router.add_get("/ui/api/live", self.live)
        app.router.add_route("*", "/ui/api/{path:.*}", self.api)
        self.runner = web.AppRunner(app, shutdown_timeout=1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop()
        await self.runner.cleanup()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def link(self) -> str:
        """A new link that works once."""
        token = f"once-{len(self.tokens)}-{self.random.random()}"
        self.tokens.add(token)
        return f"{self.base}/ui#{token}"

    def drop(self) -> None:
        """Break the live streams."""
        for _, stop in self.lives:
            stop.set()

    def expire(self) -> None:
        self.bearers.clear()
        self.drop()

    async def burst(self, count: int) -> None:
        """Let `count` requests end at once."""
        for _ in range(count):
            self.rows.append(self.row(len(self.rows), time.time()))
        data = b"".join(json.dumps(row).encode() + b"\n" for row in self.rows[-count:])
        for response, _ in self.lives:
            with contextlib.suppress(ConnectionError):
                await response.write(data)

    async def tell(self, *lines: Json) -> None:
        """Send lines to the pages that are open."""
        for response, _ in self.lives:
            await self.write(response, *lines)

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.path.startswith("/ui/api/") and request.path != "/ui/api/session" and bearer not in self.bearers:
            return web.json_response({"error": {"message": "no access"}}, status=401, headers=HEADERS)
        response: web.StreamResponse = await handler(request)
        return response

    async def file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        kind = TYPES[name.rsplit(".", 1)[1]]
        return web.Response(body=(FILES / name).read_bytes(), content_type=kind, charset="utf-8", headers=HEADERS)

    async def session(self, request: web.Request) -> web.Response:
        token = (await request.json())["token"]
        if token not in self.tokens:
            return web.json_response({"error": {"message": "no such token"}}, status=401, headers=HEADERS)
        self.tokens.remove(token)
        bearer = f"bearer-{self.random.random()}"
        self.bearers.add(bearer)
        return web.json_response({"bearer": bearer, "expires_in": 3600}, headers=HEADERS)

    async def live(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "content-type": "application/x-ndjson"})
        await response.prepare(request)
        stop = asyncio.Event()
        self.lives.append((response, stop))
        hello = {"type": "hello", "version": "0.1.0", "time": time.time(), "started": self.began, "workers": 2, "recording": "page", "ledger": True, "keys": True, "tools": []}  # fmt: skip
        await self.write(response, hello, self.state())
        for n in range(100_000):
            await self.write(response, self.now(n))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)
                break
        self.lives.remove((response, stop))
        return response

    async def write(self, response: web.StreamResponse, *lines: Json) -> None:
        for line in lines:
            with contextlib.suppress(ConnectionError):
                await response.write(json.dumps(line).encode() + b"\n")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "content-type": "text/event-stream"})
        await response.prepare(request)
        for event in self.events(self.text("This is a streamed answer, word by word, as a model would write it.", 1)):
            await response.write(event.encode())
            await asyncio.sleep(0.01)
        return response

    async def check(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "content-type": "application/x-ndjson"})
        await response.prepare(request)
        async for line in self.results():
            await self.write(response, line)
        return response

    async def results(self) -> AsyncIterator[Json]:
        for n, model in enumerate(MODELS[:3]):
            for k, probe in enumerate(("streams", "tools", "thinking", "images", "counts tokens")):
                result = ("ok", "ok", "fail", "skipped", "ok")[(n + k) % 5]
                yield {"type": "row", "model": self.text(model, n), "deployment": self.text(f"vendor/{model}", n), "advice": self.text("set `documents: file`", 2) if result == "fail" else "", "probe": self.text(probe, k), "result": result, "detail": self.text("answered in 0.4 s", k)}  # fmt: skip
                await asyncio.sleep(0.01)
        yield {"type": "end"}

    async def api(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        body = await request.json() if request.can_read_body else None
        self.requests.append((path, body))
        if path == "try" or path.endswith("/replay"):
            return await self.stream(request)
        if path == "check":
            return await self.check(request)
        if path.endswith("/export"):
            return web.Response(text=self.text(f"curl 'exported as {request.query['as']}'"), headers=HEADERS)
        answer = self.answer(path, dict(request.query))
        if answer is None:
            return web.json_response({"error": {"message": self.text(f"no {path}")}}, status=404, headers=HEADERS)
        return web.json_response(answer, headers=HEADERS)

    def answer(self, path: str, query: dict[str, str]) -> Json | None:
        words = path.split("/")
        if words[0] == "models":
            return {"models": [self.text(model, n) for n, model in enumerate(MODELS)] + ["claude-*"]}
        if words[0] == "usage":
            return self.usage(query["by"])
        if words[0] == "sessions":
            rows = [row for row in self.rows if row["session"] == path.partition("/")[2]]
            return {"turns": rows, "cost": None, "cache_share": 0.83}
        if len(words) == 1:
            return self.page(int(query["limit"]), query.get("before"))
        row = next((row for row in self.rows if row["id"] == words[1]), None)
        if row is None:
            return None
        return self.detail(row) if len(words) == 2 else self.part(words[3])

    def page(self, limit: int, before: str | None) -> Json:
        end = next((n for n, row in enumerate(self.rows) if row["id"] == before), len(self.rows))
        rows = self.rows[max(0, end - limit) : end]
        return {"requests": rows[::-1], "more": end - limit > 0}


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ui.fake", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--body", type=int, default=20_000)
    parser.add_argument("--hostile", action="store_true")
    args = parser.parse_args()
    async with Fake(args.rows, args.body, hostile=args.hostile, port=args.port) as fake:
        print("\n".join(fake.link for _ in range(20)), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
