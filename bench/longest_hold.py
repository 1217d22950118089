"""Measure the longest time for which one large request holds the proxy's event loop, by the shape of the body.

Knows: bodies of 32 MB, or of as many values as are taken, in the shapes that cost most. Must not know: how a request is
worked on. Use: `python -m bench.longest_hold [--wire chat] [--shape messages] [--json]`. The proxy runs in this
process, with a2py's own settings of the garbage collector; client and upstream run in two others. A timer that is due
every millisecond measures the hold: how late it comes, by the clock and in CPU time of this thread (on a busy machine
the clock also counts what others do). `status` is what the client got: 413 and 400 are refusals. No answer may hold the
loop for more than 250 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from a2py.cli.eventloop import settle
from a2py.config import Config, Settings
from a2py.deployment import Deployment
from a2py.messages import signatures
from a2py.providers import find_quirks
from a2py.proxy.log import Log
from a2py.proxy.server import Listen, Server

MB = 1024 * 1024
WIRES = ("chat", "responses", "native")
MODEL = "gpt-5.6"
#: Seconds between two ticks of the timer. The delay of a tick is what is measured.
TICK = 0.001
JSON = dict[str, Any]


class Row(NamedTuple):
    """One shape. `hold_ms`, `cpu_ms`: the longest hold. `ticks`: how often the loop served others while the request was
    processed."""

    shape: str
    wire: str
    bytes: int
    status: int
    hold_ms: float
    cpu_ms: float
    ticks: int
    seconds: float


# -- shapes ------------------------------------------------------------------------------------------------------------


def body(messages: list[JSON] | None = None, **more: Any) -> bytes:
    whole = {"model": "m", "max_tokens": 9, "stream": True, "messages": messages or [user("Hi")], **more}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def user(*content: Any) -> JSON:
    return {"role": "user", "content": content[0] if content and isinstance(content[0], str) else list(content)}


def assistant(*content: JSON) -> JSON:
    return {"role": "assistant", "content": list(content)}


def text(s: str) -> JSON:
    return {"type": "text", "text": s}


def body_with(raw: bytes) -> bytes:
    """Return a body whose only text is `raw`, inserted without escaping."""
    return body([user("@")]).replace(b'"@"', b'"%b"' % raw)


def call(n: int, **input: Any) -> JSON:
    return {"type": "tool_use", "id": f"call_{n}", "name": "read", "input": input}


def result(n: int, content: Any = "ok") -> JSON:
    return {"type": "tool_result", "tool_use_id": f"call_{n}", "content": content}


def image(size: int, seed: int) -> JSON:
    data = base64.b64encode(random.Random(seed).randbytes(size)).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def jpeg() -> JSON:
    """Return a JPEG that consists of segments without content."""
    data = base64.b64encode(b"\xff\xd8" + b"\xff\xe1\x00\x02" * (5 * MB)).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}}


def pdf() -> JSON:
    data = base64.b64encode(b"%PDF" + b"/Type /Page " * (23 * MB // 12)).decode()
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}


def schema(n: int) -> JSON:
    names = [f"p{k}" for k in range(n)]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": names,
        "properties": {name: {"type": "string"} for name in names},
    }


def tool(name: str, properties: int = 1) -> JSON:
    return {"name": name, "description": "x", "input_schema": schema(properties)}


def turn(*blocks: JSON) -> list[JSON]:
    """Return a completed turn of the assistant."""
    return [user("Hi"), assistant(*blocks), user("Go on")]


SHAPES: dict[str, Callable[[], bytes]] = {
    "messages": lambda: body([user("x"), {"role": "assistant", "content": "x"}] * 50_000),
    "messages of 300 bytes": lambda: body([user("x" * 300), {"role": "assistant", "content": "x" * 300}] * 46_000),
    "messages with a block": lambda: body([user(text("x")), assistant(text("x"))] * 50_000),
    "messages with calls": lambda: body([m for n in range(36_000) for m in (assistant(call(n, a=1)), user(result(n)))]),
    "messages of one role": lambda: body([user(text("x"))] * 100_000),
    "system messages": lambda: body([user("x"), *[{"role": "system", "content": "x"}] * 99_999]),
    "too many messages": lambda: body([user("x")] * 100_001),
    "blocks of the user": lambda: body([user(*[text("x")] * 200_000)]),
    "blocks of the assistant": lambda: body(turn(*[text("x")] * 200_000)),
    "blocks of a result": lambda: body([*turn(call(1))[:2], user(result(1, [text("x")] * 200_000))]),
    "calls of one turn": lambda: body(
        [user("x"), assistant(*map(call, range(45_000))), user(*map(result, range(45_000)))]
    ),
    "results without calls": lambda: body([user(*map(result, range(125_000)))]),
    "tools": lambda: body(tools=[tool(f"t{n}") for n in range(45_000)]),
    "a schema": lambda: body(tools=[tool("t", 150_000)]),
    "a schema of the reply": lambda: body(output_config={"format": {"type": "json_schema", "schema": schema(150_000)}}),
    "one string": lambda: body([user("x" * (32 * MB - 200))]),
    "escapes": lambda: body_with(b"\\n" * (16 * MB - 200)),
    "two-byte characters": lambda: body([user("é" * (16 * MB - 200))]),
    "surrogates": lambda: body_with(b"\\ud83d\\ude00" * (32 * MB // 12 - 100)),
    "halves of surrogates": lambda: body_with(b"\\ud83d" * (32 * MB // 6 - 100)),
    "half a surrogate, escapes": lambda: body_with(b"\\ud83d" + b"\\n" * (16 * MB - 200)),
    "no UTF-8": lambda: body_with(b"\xff" * (32 * MB - 200)),
    "punctuation in a string": lambda: body_with(b"[{,:" * (8 * MB - 100)),
    "images": lambda: body([user(*(image(75_000, n) for n in range(320)))]),
    "a JPEG of segments": lambda: body([user(jpeg())]),
    "a PDF of pages": lambda: body([user(pdf())]),
    "a call's input, one string": lambda: body(turn(call(1, a="x" * (31 * MB)))),
    "a call's input, names": lambda: body(turn(call(1, **{f"k{n}": f"v{n}" for n in range(500_000)}))),
    "a call's input, lists": lambda: body(turn(call(1, a=[["x"]] * 330_000))),
    "a call's input, deep": lambda: body(turn(call(1, a="@", b=[["x"]] * 300_000))).replace(
        b'"@"', b"[" * 300 + b"]" * 300
    ),
    "a call's input, not parsed": lambda: body(turn(call(1, __unparsedToolInput={"raw": "[]," * (10 * MB)}))),
    "a result of no known type": lambda: body(turn({"type": "x_tool_result", "content": [["x"]] * 300_000})),
    "a block of no known type": lambda: body(turn({"type": "x", "content": [["x"]] * 300_000})),
    "signatures": lambda: body(
        turn(
            *[
                {
                    "type": "thinking",
                    "thinking": "",
                    "signature": signatures.make("details", f"openai/{MODEL}", {"d": [[]] * 900_000}),
                }
            ]
            * 8
        )
    ),
    "[],": lambda: body()[:-1] + b',"x":[' + b"[]," * (10 * MB) + b"1]}",
    "numbers": lambda: body(x=[0] * (15 * MB)),
    "no JSON": lambda: b"x" * (32 * MB - 1),
}


# -- the other processes -----------------------------------------------------------------------------------------------

REPLIES = {
    "/chat/completions": b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    "/responses": b'event: response.completed\ndata: {"type":"response.completed","response":{"status":"completed","output":'
    b'[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}}\n\n',
    "/messages": b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
}


class Upstream(BaseHTTPRequestHandler):
    """Reads a request and answers with one word."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers["content-length"]))
        reply = next(reply for end, reply in REPLIES.items() if self.path.endswith(end))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *args: Any) -> None:
        pass


def upstream() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    print(server.server_port, flush=True)
    server.serve_forever()


def ask(port: int, path: str, model: str) -> None:
    """Send the body in the file `path`; print the status of the answer."""
    with open(path, "rb") as file:
        raw = file.read().replace(b'"model":"m"', b'"model":"%b"' % model.encode(), 1)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/messages", raw, {"content-type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    is_error = b'"type":"error"' in data and response.status == 200
    print(500 if is_error else response.status, flush=True)


# -- the proxy ---------------------------------------------------------------------------------------------------------


def configuration(port: int) -> Config:
    base = f"http://127.0.0.1:{port}/v1"
    quirks = find_quirks("openai", "https://api.openai.com/v1", MODEL)
    deployments = [
        Deployment(wire, wire, "openai", MODEL, base, key="sk-x", wire=wire, quirks=quirks) for wire in WIRES
    ]
    return Config(deployments=tuple(deployments), settings=Settings(num_retries=0))


async def watch(row: list[float]) -> None:
    """Record in `row` the longest hold by the clock and in CPU time, and the number of ticks."""
    while True:
        began, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(TICK)
        row[0] = max(row[0], time.perf_counter() - began - TICK)
        row[1] = max(row[1], time.thread_time() - cpu)
        row[2] += 1


async def measure(shape: str, wire: str, server: Server, port: int) -> Row:
    raw = SHAPES[shape]()
    with tempfile.NamedTemporaryFile() as file:
        file.write(raw)
        file.flush()
        command = (sys.executable, "-m", "bench.longest_hold", "--ask", str(port), file.name, wire)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        longest = [0.0, 0.0, 0]
        began = time.perf_counter()
        watching = asyncio.create_task(watch(longest))
        output, _ = await process.communicate()
        watching.cancel()
    return Row(
        shape,
        wire,
        len(raw),
        int(output or 0),
        longest[0] * 1e3,
        longest[1] * 1e3,
        int(longest[2]),
        time.perf_counter() - began,
    )


async def run(shapes: list[str], wires: list[str], show: Callable[[Row], None], *, collector: bool = False) -> None:
    """`collector`: set the garbage collector as `a2py serve` does, for the rest of this process."""
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.longest_hold", "--upstream", stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    server = Server(configuration(int(await other.stdout.readline())), log=Log(quiet=True))
    try:
        addresses = await server.start(Listen("127.0.0.1", 0))
        if collector:
            settle()
        for shape in shapes:
            for wire in wires:
                show(await measure(shape, wire, server, addresses[0][1]))
    finally:
        await server.close()
        other.terminate()
        await other.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    options.add_argument("--wire", choices=WIRES, help="only this one")
    options.add_argument("--shape", choices=SHAPES, metavar="NAME", help="only this one: " + ", ".join(SHAPES))
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.upstream:
        upstream()
        return
    if args.ask:
        ask(int(args.ask[0]), args.ask[1], args.ask[2])
        return

    def show(row: Row) -> None:
        if args.json:
            print(json.dumps(row._asdict()), flush=True)
        else:
            print(
                f"{row.shape:28} {row.wire:9} {row.bytes / MB:5.1f} MB  {row.status}  hold {row.hold_ms:6.0f} ms, "
                f"CPU {row.cpu_ms:6.0f} ms  {row.ticks:5} ticks in {row.seconds:5.1f} s",
                flush=True,
            )

    asyncio.run(
        run(
            [args.shape] if args.shape else list(SHAPES),
            [args.wire] if args.wire else list(WIRES),
            show,
            collector=True,
        )
    )


if __name__ == "__main__":
    main()
