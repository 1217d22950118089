"""Mixed traffic: an upstream whose answers depend on a seed, clients that leave, and an exact check of each answer.

Knows: the seed in the prompt, which decides answer, failure and pace on both sides. Must not know: a2py, how long a run
lasts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import struct
import time
from collections import Counter
from typing import Any

from bench import bodies
from bench.client import Connection, Mismatch, Reply, body_of, connect, events, request

KEY = "sk-soak-master"
HEADERS = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
#: Seconds within which one mixed answer must arrive.
LIMIT = 60.0

# -- the upstream ------------------------------------------------------------------------------------------------------

#: The model in a request decides how the upstream answers: model → weight of its requests.
KINDS = {
    "text": 24,
    "think": 10,
    "tool": 16,
    "flood": 6,
    "unary": 14,
    "late": 6,
    "error": 6,
    "cut": 5,
    "inside": 4,
    "flaky": 5,
    "count": 4,
    "odd": 4,
}
#: Where an answer may be an error, and must be in these.
FAILS = ("error", "cut", "inside")
STATUSES = (400, 401, 404, 408, 413, 429, 500, 503, 529)


def make_words(seed: int, words: int) -> list[str]:
    """Return the pieces of the answer to the request `seed`. Both sides call this."""
    dice = random.Random(seed)
    return [
        f"{hashlib.md5(bytes([n & 255])).hexdigest()[: dice.randrange(1, 9)]} é\n"[dice.randrange(3) :] or " "
        for n in range(words)
    ]


def words_of(kind: str, seed: int) -> list[str]:
    return make_words(seed, 4000 if kind == "flood" else 5 + seed % 60)


def _chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {
        "id": "chatcmpl-soak",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "soak",
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def chat_events(kind: str, seed: int) -> list[bytes]:
    """Yield the upstream's events of one answer."""
    words = words_of(kind, seed)
    out = [_chunk({"role": "assistant", "content": ""})]
    if kind == "think":
        out += [_chunk({"reasoning_content": word}) for word in words]
    if kind == "tool":
        for n in range(1 + seed % 3):
            arguments = json.dumps({"words": words})
            out.append(
                _chunk(
                    {
                        "tool_calls": [
                            {
                                "index": n,
                                "id": f"call_{seed}_{n}",
                                "type": "function",
                                "function": {"name": "Write", "arguments": ""},
                            }
                        ]
                    }
                )
            )
            step = 1 + len(arguments) // 10
            for at in range(0, len(arguments), step):
                out.append(_chunk({"tool_calls": [{"index": n, "function": {"arguments": arguments[at : at + step]}}]}))
    else:
        out += [_chunk({"content": word}) for word in words]
    usage = {"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}
    return [
        *out,
        _chunk({}, "tool_calls" if kind == "tool" else "stop"),
        _chunk(None, usage=usage),
        b"data: [DONE]\n\n",
    ]


def _event(name: str, **more: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **more})}\n\n".encode()


def native_events(kind: str, seed: int) -> list[bytes]:
    words = words_of(kind, seed)
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    head: dict[str, Any] = {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": "soak",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    out = [_event("message_start", message={**head, "usage": usage})]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if kind == "think":
        thoughts = [{"type": "thinking_delta", "thinking": word} for word in words]
        blocks.append(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [*thoughts, {"type": "signature_delta", "signature": "c2ln"}],
            )
        )
    if kind == "tool":
        for n in range(1 + seed % 3):
            start = {"type": "tool_use", "id": f"toolu_{seed}_{n}", "name": "Write", "input": {}}
            blocks.append(
                (
                    start,
                    [
                        {"type": "input_json_delta", "partial_json": part}
                        for part in ('{"words": ', json.dumps(words), "}")
                    ],
                )
            )
    else:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in words]))
    for index, (start, deltas) in enumerate(blocks):
        out.append(_event("content_block_start", index=index, content_block=start))
        out += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        out.append(_event("content_block_stop", index=index))
    reason = {"stop_reason": "tool_use" if kind == "tool" else "end_turn", "stop_sequence": None}
    return [*out, _event("message_delta", delta=reason, usage={"output_tokens": len(words)}), _event("message_stop")]


def whole(wire: str, kind: str, seed: int) -> bytes:
    """Return the same answer as one JSON body."""
    text = "".join(words_of(kind, seed))
    if wire == "native":
        usage = {"input_tokens": 10, "output_tokens": 5}
        content = [{"type": "text", "text": text}]
        head = {
            "id": "msg_up",
            "type": "message",
            "role": "assistant",
            "model": "soak",
            "stop_reason": "end_turn",
            "stop_sequence": None,
        }
        return json.dumps({**head, "content": content, "usage": usage}).encode()
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps(
        {
            "id": "chatcmpl-soak",
            "object": "chat.completion",
            "created": 1,
            "model": "soak",
            "choices": [choice],
            "usage": usage,
        }
    ).encode()


_SEED = re.compile(rb"seed:(\d+):")
_MODEL = re.compile(rb'"model":\s*"([a-z]+)"')


class Upstream:
    """Answers by the model's name and the seed in the prompt. `disconnects`: answers whose reader disconnected. `open`:
    connections now."""

    def __init__(self, wire: str) -> None:
        self.wire = wire
        self.disconnects = self.open = self.requests = 0
        self.attempts: Counter[int] = Counter()

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 25)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1]) if length else 0)
                self.requests += 1
                if not head.split(b" ", 2)[1].endswith(
                    (b"/chat/completions", b"/messages")
                ):  # a tokenizer is asked for
                    self._reply(writer, 404, b"{}")
                elif not await self._answer(writer, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            self.disconnects += 1
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: bytes) -> bool:
        """Answer one request. Return False if the connection ends here."""
        model, number = _MODEL.search(body), _SEED.search(body)
        assert model and number, body[:200]
        kind, seed = model[1].decode(), int(number[1])
        dice = random.Random(seed + 1)
        self.attempts[seed] += 1
        if kind == "error" or (kind == "flaky" and self.attempts[seed] == 1):
            self._reply(
                writer,
                dice.choice((500, 503, 529) if kind == "flaky" else STATUSES),
                b'{"error": {"message": "as it was asked", "type": "x"}}',
            )
            return True
        if kind == "late":
            await asyncio.sleep(dice.random() * 3)
        if b'"stream":true' not in body.replace(b" ", b""):
            self._reply(writer, 200, whole(self.wire, kind, seed))
            await writer.drain()
            return True
        pieces = native_events(kind, seed) if self.wire == "native" else chat_events(kind, seed)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        pause = 0.0 if kind == "flood" else dice.choice((0.0, 0.002, 0.02, 0.1))
        stop = dice.randrange(1, len(pieces) - 4) if kind in ("cut", "inside") else len(pieces)
        for n in range(0, stop, step := dice.choice((1, 1, 3, 50))):
            data = b"".join(pieces[n : min(n + step, stop)])
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
            await asyncio.sleep(pause)
        if kind == "cut":
            if dice.random() < 0.5:
                writer.transport.abort()
            return False
        if kind == "inside":
            error: dict[str, Any] = {"error": {"message": "as it was asked", "type": "server_error"}}
            data = (
                _event("error", **error) if self.wire == "native" else b"data: " + json.dumps(error).encode() + b"\n\n"
            )
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _reply(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        writer.write(
            b"HTTP/1.1 %d Soak\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


# -- the clients --------------------------------------------------------------------------------------------------


def question(kind: str, seed: int, dice: random.Random) -> tuple[str, dict[str, Any]]:
    """Return path and body of one request: some small, some of Claude Code's size, some with megabytes."""
    size = dice.choices(("small", "large", "huge"), (70, 27, 3))[0]
    stream = kind not in ("unary", "count") and dice.random() < 0.9
    body = json.loads(LARGE) if size == "large" else bodies.small(stream)
    mark = f"seed:{seed}:"
    content: Any = mark
    if size == "huge":
        data = "iVBORw0KGgo" + "A" * dice.randrange(500_000, 3_000_000)
        image = {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": data[: len(data) // 4 * 4]},
        }
        content = [{"type": "text", "text": mark}, image]
    body["messages"].append({"role": "user", "content": content})
    if kind == "think":
        body["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    body |= {"model": "text" if kind == "count" else kind, "stream": stream}
    if kind == "count":
        body = {name: body[name] for name in ("model", "messages", "system", "tools") if name in body}
    return ("/v1/messages/count_tokens" if kind == "count" else "/v1/messages"), body


LARGE = json.dumps(bodies.large())
ODD = (
    b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"HELLO\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: sk-soak-master\r\ncontent-length: 9\r\n\r\n{broken:[",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: sk-soak-master\r\ncontent-length: 999999999\r\n\r\n",
)


def verify(kind: str, seed: int, stream: bool, reply: Reply) -> str:
    """Return the outcome in one word. Raise Mismatch if the reply is wrong."""
    data = body_of(reply)[0]
    if kind == "odd":
        if reply.status < 400 or json.loads(data)["type"] != "error":
            raise Mismatch(f"odd: {reply.status}")
        return "refused"
    if kind == "count":
        if reply.status != 200 or json.loads(data)["input_tokens"] < 1:
            raise Mismatch(f"count: {reply.status} {data[:100]!r}")
        return "counted"
    words = words_of(kind, seed)
    if not stream:
        message = json.loads(data)
        if kind == "error":
            if reply.status < 400 or message["type"] != "error":
                raise Mismatch(f"{kind}: {reply.status} {data[:100]!r}")
            return "error"
        text = "".join(block.get("text", "") for block in message.get("content", ()))
        if reply.status != 200 or text != "".join(words):
            raise Mismatch(f"{kind}: {reply.status} {data[:200]!r}")
        return "whole"
    if reply.status != 200:
        if kind in FAILS and json.loads(data)["type"] == "error":
            return "error"
        raise Mismatch(f"{kind}: {reply.status} {data[:200]!r}")
    return _verify_stream(kind, words, seed, events(data))


def _verify_stream(kind: str, words: list[str], seed: int, all_events: list[dict[str, Any]]) -> str:
    names = [event["type"] for event in all_events]
    ends = [name for name in names if name in ("error", "message_stop")]
    if len(ends) != 1 or names[-1] != ends[0] or (names[0] != "message_start" and names != ["error"]):
        raise Mismatch(f"{kind}: {names[:2]} … {names[-3:]}")
    if names[-1] == "error":
        if kind not in FAILS:
            raise Mismatch(f"{kind}: {all_events[-1]}")
        return "error event"
    if kind in FAILS:
        raise Mismatch(f"{kind}: a made-up end")
    parts: dict[int, list[str]] = {}
    kinds: dict[int, str] = {}
    for event in all_events:
        if event["type"] == "content_block_start":
            kinds[event["index"]] = event["content_block"]["type"]
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            parts.setdefault(event["index"], []).append(
                delta.get("text") or delta.get("thinking") or delta.get("partial_json") or ""
            )
    texts = {at: "".join(pieces) for at, pieces in parts.items()}
    if kind == "tool":
        right = len(texts) == 1 + seed % 3 and all(json.loads(text) == {"words": words} for text in texts.values())
    else:
        order = ["thinking", "text"] if kind == "think" else ["text"]
        right = [kinds[at] for at in sorted(texts)] == order and all(text == "".join(words) for text in texts.values())
    if not right:
        raise Mismatch(f"{kind} {seed}: content differs: {str(texts)[:200]}")
    return "streamed"


class Traffic:
    """The clients. `outcomes`: (kind, outcome) → how often. `errors`: what was wrong."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.dice = random.Random(seed)
        self.seeds = iter(range(seed * 10_000_000, 1 << 60))
        self.outcomes: Counter[str] = Counter()
        self.errors: list[str] = []
        self.until = 0.0

    async def client(self) -> None:
        """Send requests one after the other, on a kept connection as long as it lasts."""
        connection: Connection | None = None
        while time.monotonic() < self.until:
            if connection is None or connection.is_lost or self.dice.random() < 0.05:
                if connection is not None:
                    connection.close()
                connection = await connect(self.port)
            connection = await self.one(connection)
        if connection is not None:
            connection.close()

    async def one(self, connection: Connection) -> Connection | None:
        """None: the connection is gone."""
        dice, seed = self.dice, next(self.seeds)
        kind = dice.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        stream = False
        if kind == "odd":
            example = dice.choice(ODD)
        else:
            path, body = question(kind, seed, dice)
            stream = bool(body.get("stream"))
            example = request(self.port, path, json.dumps(body, ensure_ascii=False).encode(), HEADERS)
        leaves = dice.random()
        if leaves < 0.03:  # the client leaves in the middle of its own request
            assert connection.transport is not None
            connection.transport.write(example[: dice.randrange(1, len(example))])
            await asyncio.sleep(dice.random() * 0.05)
            self.leave(connection, "request")
            return None
        pending = connection.ask(example)
        if leaves < 0.20:
            try:
                await asyncio.wait_for(asyncio.shield(pending), dice.random() ** 2 * 2)
            except asyncio.TimeoutError:
                pending.cancel()
                self.leave(connection, "answer")
                return None
            except Mismatch:
                pass
        elif leaves < 0.23:  # the client does not read for a while
            assert connection.transport is not None
            connection.transport.pause_reading()
            await asyncio.sleep(dice.random() * 3)
            connection.transport.resume_reading()
        try:
            self.outcomes[f"{kind}: {verify(kind, seed, stream, await asyncio.wait_for(pending, LIMIT))}"] += 1
        except (Mismatch, asyncio.TimeoutError, ValueError, KeyError) as error:
            reads = connection.reply.reads or [(connection.reply.send_time, 0)]
            ago = (time.monotonic_ns() - reads[-1][0]) / 1e9
            so_far = f"{reads[-1][1]} bytes in {len(reads)} reads, the last {ago:.1f} s ago"
            self.errors.append(f"{kind} seed {seed}: {type(error).__name__} {error} ({so_far})"[:300])
            connection.close()
            return None
        if kind == "odd":  # the proxy closes that connection
            connection.close()
            return None
        return connection

    def leave(self, connection: Connection, when: str) -> None:
        """Disconnect."""
        assert connection.transport is not None
        how = self.dice.choice(("reset", "close"))
        if how == "reset" and not connection.is_lost:
            sock = connection.transport.get_extra_info("socket")
            sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: abort sends RST
        connection.transport.abort()
        self.outcomes[f"left: {when}, {how}"] += 1
