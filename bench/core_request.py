"""What a request costs in the core: parse, then prepare for a wire; CPU ms and copies of the body, by size and kind of
body.

Knows: bodies that are large in four ways (turns, results, one image, many images). Must not know: sockets, how a wire
works. Use: `python -m bench.core_request [--wire chat] [--repeat 7] [--json]`. CPU is the least of the repeats. Copies
are peaks of memory over the size of the body, beside the body itself: `resident` by the rise of resident memory over
parse and prepare, in a process of its own; `traced` by tracemalloc over prepare alone (it counts what orjson reserves
and never touches: up to 8 times the longest string when it writes).
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from a2py.deployment import Deployment
from a2py.messages.request import parse
from a2py.messages.types import Call, Prepared
from a2py.providers import find_quirks
from a2py.quirks import override
from a2py.wires import wire
from bench import bodies
from bench.shapes import MODEL

SIZES = (100_000, 1_000_000, 10_000_000)
NOW = 1_800_000_000.0
Body = dict[str, Any]


class Row(NamedTuple):
    """One body. `copies`: of `prepare`. `resident`: of parse and prepare, 0 if the system does not report it. `sent`:
    bytes of the upstream body."""

    kind: str
    bytes: int
    messages: int
    parse_ms: float
    prepare_ms: float
    copies: float
    resident: float
    sent: int

    @property
    def ms(self) -> float:
        return self.parse_ms + self.prepare_ms


def turns(size: int) -> Body:
    """Return Claude Code's request with further turns like its own, each with new ids."""
    body = bodies.large()
    first, *loop = body["messages"]
    room = size - len(json.dumps({**body, "messages": [first]}))
    out = [first]
    n = 0
    while room > 0:
        question, reply = json.loads(json.dumps(loop[n * 2 % len(loop) : n * 2 % len(loop) + 2]))
        for block in [*question["content"], *reply["content"]]:
            for name in ("id", "tool_use_id"):
                if name in block:
                    block[name] = f"call_{n:06d}"
        out += [question, reply]
        room -= len(json.dumps([question, reply]))
        n += 1
    return {**body, "messages": out}


def result(size: int) -> Body:
    """Return a request with one large tool result: prose with characters that JSON must escape."""
    body = bodies.large()
    dice = random.Random(7)
    prose = " ".join(
        dice.choice(["amber", "basin", "\n\tcedar", '"delta"', "größe", "\\path"]) for _ in range(size // 8)
    )
    call = {"type": "tool_use", "id": "call_x", "name": body["tools"][0]["name"], "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "call_x", "content": prose}
    return {
        **body,
        "messages": [
            body["messages"][0],
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [answer]},
        ],
    }


def _image(size: int, seed: int) -> Body:
    data = base64.b64encode(random.Random(seed).randbytes(size * 3 // 4)).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def image(size: int) -> Body:
    """Return a request with one base64 image in the user's turn."""
    return {**_bare(), "messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, _image(size, 1)]}]}


def images(size: int) -> Body:
    """Return a request with many images of some 100 KB, each in a tool result."""
    messages: list[Body] = [{"role": "user", "content": "Look at all of them"}]
    for n in range(max(1, size // 100_000)):
        call = {"type": "tool_use", "id": f"call_{n}", "name": "read", "input": {"path": f"/{n}.png"}}
        messages.append({"role": "assistant", "content": [call]})
        answer = {"type": "tool_result", "tool_use_id": f"call_{n}", "content": [_image(min(size, 100_000), n)]}
        messages.append({"role": "user", "content": [answer]})
    return {**_bare(), "messages": messages}


def _bare() -> Body:
    return {"model": MODEL, "max_tokens": 32_000, "stream": True}


KINDS: dict[str, Callable[[int], Body]] = {"turns": turns, "result": result, "image": image, "images": images}


def deployment(name: str) -> Deployment:
    base = "http://127.0.0.1:9/v1"
    quirks = override(find_quirks("openai", base, "m"), {"images": True})
    return Deployment(name="m", id="m", provider="openai", model="m", base=base, key="sk-x", wire=name, quirks=quirks)


def ask(raw: bytes, to: Deployment) -> Prepared:
    return wire(to.wire).prepare(Call(parse(raw), "msg_1", NOW), to, True)


def _least(work: Callable[[], object], repeat: int) -> float:
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeat):
            began = time.process_time_ns()
            result = work()
            best = min(best, time.process_time_ns() - began)
            del result
    finally:
        gc.enable()
    return best / 1e6


def measure(kind: str, size: int, to: Deployment, repeat: int) -> Row:
    body = KINDS[kind](size)
    raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    request = parse(raw)
    upstream_request = ask(raw, to)
    parse_ms = _least(lambda: parse(raw), repeat)
    prepare_ms = _least(lambda: wire(to.wire).prepare(Call(request, "msg_1", NOW), to, True), repeat)
    length = len(upstream_request.body)
    del upstream_request
    gc.collect()
    tracemalloc.start()
    result = wire(to.wire).prepare(Call(request, "msg_1", NOW), to, True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del result
    return Row(
        kind, len(raw), len(body["messages"]), parse_ms, prepare_ms, peak / len(raw), _resident(raw, to.wire), length
    )


def _resident(raw: bytes, wire: str) -> float:
    """Return the rise of resident memory over the body's size, measured in a process that has done nothing else."""
    command = [sys.executable, "-m", "bench.core_request", "--wire", wire, "--resident"]
    process = subprocess.run(command, input=raw, capture_output=True, timeout=120, check=False)
    return float(process.stdout) if process.returncode == 0 else 0.0


def _rise(raw: bytes, to: Deployment) -> float:
    ask(b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]}', to)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of resident memory
    before = _status("VmRSS")
    upstream_request = ask(raw, to)
    rise = _status("VmHWM") - before
    del upstream_request
    return rise / len(raw)


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    options.add_argument("--wire", default="chat", choices=["chat", "responses", "native"])
    options.add_argument("--repeat", type=int, default=7)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument(
        "--resident", action="store_true", help="only the rise of resident memory, of the body on standard input"
    )
    args = options.parse_args()
    to = deployment(args.wire)
    if args.resident:
        print(_rise(sys.stdin.buffer.read(), to))
        return
    if not args.json:
        print(
            f"{'kind':8} {'bytes':>11} {'messages':>8} {'parse ms':>9} {'prepare ms':>10} {'ms':>8} {'ms/MB':>6} "
            f"{'traced':>8} {'resident':>8}"
        )
    for kind in KINDS:
        for size in SIZES:
            row = measure(kind, size, to, args.repeat)
            if args.json:
                print(json.dumps({**row._asdict(), "wire": args.wire}))
            else:
                print(
                    f"{row.kind:8} {row.bytes:>11,} {row.messages:>8} {row.parse_ms:>9.2f} {row.prepare_ms:>10.2f} "
                    f"{row.ms:>8.2f} "
                    f"{row.ms / row.bytes * 1e6:>6.2f} {row.copies:>7.2f}x {row.resident:>7.2f}x"
                )


if __name__ == "__main__":
    main()
