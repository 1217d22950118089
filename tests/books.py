"""Requests whose every token is known: an upstream that keeps books of what it tells, and clients that ask it through a
proxy, on all wires and on OpenAI's paths.

A `Case` is one request. Its number is in its prompt, so the upstream knows which case asks it, whatever the proxy has
made of the request; and in its agent header, so each row of the ledger names its case. The usage that
the upstream reports for an attempt is in `Case.usages`. `Case.has_unknown_usage`: it reported none for some attempt.

Knows: the three protocols and their usages, how requests end. Must not know: what the ledger should have.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from tests.scripted import DONE, SSE, Peer, Raw, chunk, completion, event

AGENT, SESSION = "x-claude-code-agent-id", "x-claude-code-session-id"
_NUMBER = re.compile(rb"case (\d+)\.")
#: Names of the models, which are those of their wires, and the name that takes over from each.
FALLBACKS = {"chat": "native", "responses": "chat", "native": "responses"}
#: Dollars a token: input, output, cache read, cache write.
PRICES = {
    "chat": (1e-6, 2e-6, 1e-7, 1.25e-6),
    "responses": (3e-6, 5e-6, 3e-7, 0.0),
    "native": (7e-6, 11e-6, 7e-7, 9e-6),
}
PRICES["vectors"] = (1e-7, 0.0, 0.0, 0.0)
PASSTHROUGH = {
    "/v1/chat/completions": ("chat", "responses"),
    "/v1/responses": ("responses", "chat"),
    "/v1/embeddings": ("vectors",),
}


class Tokens(NamedTuple):
    """`read`, `write`: of the cache; `output` with the `thinking`."""

    input: int = 0
    read: int = 0
    write: int = 0
    output: int = 0
    thinking: int = 0

    def __add__(self, other: object) -> Tokens:
        assert isinstance(other, Tokens)
        return Tokens(*(a + b for a, b in zip(self, other, strict=True)))

    def cost(self, model: str) -> float:
        input, output, read, write = PRICES[model]
        return self.input * input + self.output * output + self.read * read + self.write * write


@dataclass
class Case:
    """`kind`: a method of `Upstream`; `usages`: the model and the reported usage of each attempt;
    `has_unknown_usage`: an attempt reported none; `requests`: requests upstream; `arrival`: set by the first; `end`:
    when the client had its answer, or had left, seconds since the epoch; `status`: of the answer, 499 if the client has
    left; `is_lost`: the proxy's connection broke."""

    number: int
    path: str
    model: str
    kind: str
    stream: bool
    session: str
    key: str
    usages: list[tuple[str, Tokens]] = field(default_factory=list)
    has_unknown_usage: bool = False
    requests: int = 0
    arrival: asyncio.Event = field(default_factory=asyncio.Event)
    end: float = 0.0
    status: int = 0
    is_lost: bool = False

    @property
    def total(self) -> Tokens:
        return sum((tokens for _, tokens in self.usages), Tokens())

    @property
    def cost(self) -> float:
        return sum(tokens.cost(model) for model, tokens in self.usages)

    @property
    def is_passed(self) -> bool:
        return self.path in PASSTHROUGH

    @property
    def fails(self) -> bool:
        """Whether its row has an error: the client got one, as a status or as the end of a stream."""
        if self.kind == "cut_told":  # with the finish reason: nothing is missing on the wires that have told it
            return self.is_passed or self.has_unknown_usage
        in_stream = self.kind == "cut" or (self.kind == "fail" and self.is_passed)
        return in_stream or (self.status >= 400 and self.status != 499)

    @property
    def has_no_end(self) -> bool:
        """Whether a reply of it had no end, so that its row says that the tokens may not be all, although they are what
        was told."""
        return self.kind in ("fail", "cut_told") and self.fails != (self.kind == "fail")

    @property
    def may_break(self) -> bool:
        """Whether the answer itself may end without a proper end."""
        return self.is_passed and self.kind in ("cut", "cut_told")

    def body(self) -> dict[str, Any]:
        prompt = f"This is case {self.number}. {'Please consider it well. ' * (self.number % 5)}"
        messages = [{"role": "user", "content": prompt}]
        if self.path == "/v1/embeddings":
            return {"model": self.model, "input": [prompt]}
        if self.path == "/v1/responses":
            return {"model": self.model, "input": prompt, "stream": self.stream}
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": self.stream}
        if self.path == "/v1/chat/completions" and self.stream:
            body["stream_options"] = {"include_usage": True}
        if self.path.startswith("/v1/messages"):
            body["max_tokens"] = 4000
        if self.kind == "search":
            body["tools"] = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]
        return body


#: Kinds that any wire and any path can have, with their weights.
KINDS = {
    "answer": 40,
    "retry": 10,
    "drop": 5,
    "fallback": 6,
    "refuse": 5,
    "page": 2,
    "cut": 4,
    "cut_told": 4,
    "fail": 5,
    "leave": 5,
    "leave_silent": 3,
    "nobody": 2,
    "count": 2,
    "search": 3,
    "silent_usage": 2,
}


def make_cases(count: int, keys: Iterable[str], seed: int = 21) -> list[Case]:
    """Return `count` cases, the same every time."""
    dice, names = random.Random(seed), list(keys)
    cases = []
    for number in range(count):
        path = dice.choice(("/v1/messages",) * 3 + tuple(PASSTHROUGH))
        model = dice.choice(PASSTHROUGH[path]) if path in PASSTHROUGH else dice.choice(tuple(FALLBACKS))
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        stream = dice.random() < 0.6 and path != "/v1/embeddings"
        if kind in ("cut", "leave", "fail", "cut_told") and path == "/v1/embeddings":
            kind = "answer"
        if kind in ("cut", "leave", "fail", "cut_told", "silent_usage"):
            stream = True
        if kind in ("count", "search") and path in PASSTHROUGH:
            kind = "retry"
        if kind == "search":
            model = "chat"
        if kind == "silent_usage" and path == "/v1/embeddings":
            kind = "answer"
        if kind == "count":
            path, stream = "/v1/messages/count_tokens", False
        if kind == "nobody":
            model = "nobody"
        cases.append(Case(number, path, model, kind, stream, f"s{dice.randrange(12)}", dice.choice(names)))
    return cases


class Upstream:
    """Scripts for `ScriptedServer`: one upstream for all wires, and the search engine."""

    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases
        self._dice = random.Random(22)

    async def __call__(self, c: Peer) -> None:
        if c.request.target.startswith("/search"):
            c.reply({"results": [{"url": "https://example.com/a", "title": "A", "content": "A is 42."}]})
            return
        match = _NUMBER.search(c.request.body)
        assert match is not None, c.request.body[:300]
        case = self.cases[int(match[1])]
        case.requests += 1
        case.arrival.set()
        await getattr(self, case.kind)(c, case, Reply(c, case, self._dice))

    async def answer(self, c: Peer, case: Case, reply: Reply) -> None:
        reply.answer()

    async def silent_usage(self, c: Peer, case: Case, reply: Reply) -> None:
        """A stream that ends well and reports no usage."""
        c.head(200, SSE)
        c.events(*reply.say("word " * 9), *reply.finish(None))
        c.end()
        case.has_unknown_usage = True

    async def retry(self, c: Peer, case: Case, reply: Reply) -> None:
        if case.requests == 1:
            c.reply(
                {"error": {"message": "try again", "type": "server_error"}}, self._dice.choice((500, 502, 503, 529))
            )
        else:
            reply.answer()

    async def drop(self, c: Peer, case: Case, reply: Reply) -> None:
        """The connection breaks before the head."""
        if case.requests <= 1 + case.number % 2:
            c.reset() if case.number % 3 else c.close()
        else:
            reply.answer()

    async def fallback(self, c: Peer, case: Case, reply: Reply) -> None:
        if reply.model == case.model and case.model in FALLBACKS and not case.is_passed:
            c.reply({"error": {"message": "down for today", "type": "server_error"}}, 500)
        elif case.is_passed and case.requests == 1:
            c.reply({"error": {"message": "slow down", "type": "rate_limit"}}, 429)
        else:
            reply.answer()

    async def refuse(self, c: Peer, case: Case, reply: Reply) -> None:
        words = self._dice.choice(
            ("the tool `x` is not allowed here", "maximum context length is 5 tokens, you sent 9")
        )
        c.reply({"error": {"message": words, "type": "invalid_request_error"}}, self._dice.choice((400, 422)))

    async def page(self, c: Peer, case: Case, reply: Reply) -> None:
        c.head(200, {"content-type": "text/html"}, length=20)
        c.write(b"<html>sorry!</html>\n")
        case.has_unknown_usage = True

    async def cut(self, c: Peer, case: Case, reply: Reply) -> None:
        """It breaks off within a text; on the native wire the beginning has told the prompt's tokens."""
        c.head(200, SSE)
        c.events(*reply.say("word " * 9))
        case.has_unknown_usage = True
        await c.drain()
        c.close()

    async def cut_told(self, c: Peer, case: Case, reply: Reply) -> None:
        """It breaks off after its usage, and before its end."""
        c.head(200, SSE)
        c.events(*reply.say("word " * 9))
        if reply.wire == "responses":
            case.has_unknown_usage = True  # its usage comes with its end
        else:
            c.events(*reply.finish(reply.count())[:-1])
        await c.drain()
        c.close()

    async def fail(self, c: Peer, case: Case, reply: Reply) -> None:
        """The first attempt fails after its usage, and before its first text."""
        if case.requests > 1:
            reply.answer()
            return
        c.head(200, SSE)
        c.events(*reply.fail())
        c.end()

    async def leave(self, c: Peer, case: Case, reply: Reply) -> None:
        c.head(200, SSE)
        c.events(*reply.say("word " * 9))
        case.has_unknown_usage = True
        await c.drain()
        await c.wait_disconnect()
        case.end = max(case.end, time.time())

    async def leave_silent(self, c: Peer, case: Case, reply: Reply) -> None:
        case.has_unknown_usage = True
        await c.wait_disconnect()
        case.end = max(case.end, time.time())

    async def search(self, c: Peer, case: Case, reply: Reply) -> None:
        """The model asks for a search, and answers with what it brings."""
        if any(one["role"] == "tool" for one in c.request.json["messages"]):
            reply.answer()
            return
        call = {"index": 0, "id": "call_1", "type": "function"}
        call["function"] = {"name": "web_search", "arguments": '{"query": "what is A"}'}
        usage = reply.write(reply.count())
        if case.stream:
            c.head(200, SSE)
            c.events(chunk({"tool_calls": [call]}), chunk({}, "tool_calls"), chunk(usage=usage), DONE)
            c.end()
        else:
            del call["index"]
            c.reply({**completion("", "tool_calls", tool_calls=[call]), "usage": usage})


class Reply:
    """One reply: the events and bodies of its wire, and the usage in them, which goes into the case's books."""

    def __init__(self, c: Peer, case: Case, dice: random.Random) -> None:
        self._c, self._case, self._dice = c, case, dice
        target = c.request.target
        body = c.request.json
        self.model: str = body["model"].removeprefix("up-")
        self.stream = bool(body.get("stream"))
        self.wire = "native" if target.endswith("/messages") else target.rpartition("/")[2]
        self._start: Tokens | None = None

    def count(self) -> Tokens:
        """Count some tokens, and note that they are told."""
        number = self._dice.randrange
        output = 0 if self.wire == "embeddings" else number(60, 3000)
        tokens = Tokens(
            number(1, 5000),
            number(0, 5000) if self.wire != "embeddings" else 0,
            number(0, 900) if self.wire == "native" else 0,
            output,
            number(0, output) if output and self.wire != "native" else 0,
        )
        if self._start is not None:  # its beginning has told the prompt's
            tokens = self._start._replace(output=tokens.output)
            self._case.usages.pop()
        self._case.usages.append((self.model, tokens))
        return tokens

    def write(self, tokens: Tokens) -> dict[str, Any]:
        """Return the usage as the wire has it."""
        prompt = tokens.input + tokens.read
        total = {"total_tokens": prompt + tokens.output}
        if self.wire == "native":
            return {
                "input_tokens": tokens.input,
                "cache_read_input_tokens": tokens.read,
                "cache_creation_input_tokens": tokens.write,
                "output_tokens": tokens.output,
            }
        if self.wire == "embeddings":
            return {"prompt_tokens": prompt, **total}
        if self.wire == "responses":
            return {
                "input_tokens": prompt,
                "input_tokens_details": {"cached_tokens": tokens.read},
                "output_tokens": tokens.output,
                "output_tokens_details": {"reasoning_tokens": tokens.thinking},
                **total,
            }
        if self._case.number % 4 == 1:  # DeepSeek's
            cache_fields: dict[str, Any] = {
                "prompt_cache_hit_tokens": tokens.read,
                "prompt_cache_miss_tokens": tokens.input,
            }
        else:
            cache_fields = {"prompt_tokens_details": {"cached_tokens": tokens.read}}
        details = {"reasoning_tokens": tokens.thinking}
        return {
            "prompt_tokens": prompt,
            "completion_tokens": tokens.output,
            "completion_tokens_details": details,
            **cache_fields,
            **total,
        }

    def answer(self) -> None:
        """A whole answer, as a stream or at once."""
        c = self._c
        if not self.stream:
            c.reply(self._whole(self.write(self.count())))
            return
        c.head(200, SSE)
        c.events(*self.say("Hi"), *self.finish(self.count()))
        c.end()

    def say(self, text: str) -> list[bytes]:
        """The beginning of a stream."""
        if self.wire == "native":
            start = self._start = self.count()._replace(output=1)
            self._case.usages[-1] = (self.model, start)
            message = {**self._whole(self.write(start)), "content": [], "stop_reason": None}
            return _typed_events(
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            )
        if self.wire == "responses":
            item = {"type": "message", "id": "m1", "role": "assistant", "content": []}
            part = {"item_id": "m1", "output_index": 0, "content_index": 0}
            return _typed_events(
                {"type": "response.created", "response": {"id": "r1", "object": "response", "usage": None}},
                {"type": "response.output_item.added", "output_index": 0, "item": item},
                {"type": "response.output_text.delta", "delta": text, **part},
            )
        return [event(chunk({"role": "assistant", "content": text}))]

    def finish(self, tokens: Tokens | None) -> list[bytes]:
        """The end of a stream; the usage comes before its last event, on the Responses wire in it."""
        usage = self.write(tokens) if tokens is not None else None
        if self.wire == "native":
            if self._case.number % 2 and usage is not None:  # only what is new, as Anthropic did at first
                usage = {"output_tokens": usage["output_tokens"]}
            delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
            if usage is not None:
                delta["usage"] = usage
            return _typed_events({"type": "content_block_stop", "index": 0}, delta, {"type": "message_stop"})
        if self.wire == "responses":
            response = self._whole(usage or {})
            item = {"type": "response.output_item.done", "output_index": 0, "item": response["output"][0]}
            return _typed_events(item, {"type": "response.completed", "response": response})
        if usage is None:
            return [event(chunk({}, "stop")), DONE]
        if self._case.number % 3 == 0:  # with the finish reason
            return [event(chunk({}, "stop", usage=usage)), DONE]
        return [event(chunk({}, "stop")), event(chunk(usage=usage)), DONE]

    def fail(self) -> list[bytes]:
        """A stream that has told its usage and fails before its text."""
        problem = {"message": "overloaded", "type": "overloaded_error", "code": 503}
        if self.wire == "native":
            start, *_ = self.say("")
            return [start, *_typed_events({"type": "error", "error": problem})]
        usage = self.write(self.count())
        if self.wire == "responses":
            response = {"id": "r1", "object": "response", "status": "failed", "output": [], "usage": usage}
            response["error"] = {"code": "server_error", "message": "overloaded"}
            return _typed_events({"type": "response.failed", "response": response})
        return [event(chunk(usage=usage)), event({"error": problem})]

    def _whole(self, usage: dict[str, Any]) -> dict[str, Any]:
        if self.wire == "native":
            text = {"type": "text", "text": "Hi"}
            return {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "up",
                "content": [text],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": usage,
            }
        if self.wire == "responses":
            part = {"type": "output_text", "text": "Hi", "annotations": []}
            item = {"type": "message", "id": "m1", "role": "assistant", "content": [part]}
            return {"id": "r1", "object": "response", "status": "completed", "output": [item], "usage": usage}
        if self.wire == "embeddings":
            one = {"object": "embedding", "index": 0, "embedding": [0.25] * 40}
            return {"object": "list", "data": [one], "model": "up", "usage": usage}
        return {**completion("Hi"), "usage": usage}


def _typed_events(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]


class Clients:
    """Asks the cases of a proxy on `port`, `at_once` of them at a time. `secrets`: name of a key → the key."""

    def __init__(self, port: int, secrets: Mapping[str, str], at_once: int = 24) -> None:
        self._port = port
        self._secrets = secrets
        self._places = asyncio.Semaphore(at_once)

    async def ask_all(self, cases: Iterable[Case], on_start: Callable[[int], None] = lambda number: None) -> None:
        """Ask all `cases`. `on_start`: called with the number of each when it begins."""
        await asyncio.gather(*map(partial(self._ask, on_start), cases))

    async def _ask(self, on_start: Callable[[int], None], case: Case) -> None:
        async with self._places:
            on_start(case.number)
            try:
                async with Raw(self._port) as client:
                    await self._talk(client, case)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                case.is_lost = True
            case.end = max(case.end, time.time())

    async def _talk(self, client: Raw, case: Case) -> None:
        headers = [("x-api-key", self._secrets[case.key]), (AGENT, f"a{case.number}"), (SESSION, case.session)]
        client.ask("POST", case.path, case.body(), headers)
        if case.kind == "leave_silent":
            arrival = asyncio.create_task(case.arrival.wait())
            broken = asyncio.create_task(client.reader.read(1))
            await asyncio.wait((arrival, broken), return_when=asyncio.FIRST_COMPLETED)
            case.is_lost = not arrival.done()
            arrival.cancel(), broken.cancel()
            case.status = 499
        elif case.kind == "leave":
            await client.head()
            while b"word" not in await client.piece():
                pass
            case.status = 499
        else:
            answer = await client.answer()
            case.status = answer.status
            case.is_lost = not answer.whole and not case.may_break
