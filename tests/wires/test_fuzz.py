"""Mutated requests and mutated upstream bytes, through every wire: no exception but `ApiError` from a builder, the
contract from a decoder.

The corpus is the goldens', and the captures and recordings of ../shared where that folder is there. `A2PY_FUZZ=20000`
runs that many examples a test instead of EXAMPLES."""

from __future__ import annotations

import os
import random
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call
from a2py.wires import WIRES, reply, wire
from tests import golden, recordings, streams

EXAMPLES = int(os.environ.get("A2PY_FUZZ", "60"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="A2PY_FUZZ" not in os.environ,
)
#: What stands in for a value: each JSON type, and strings that mean something somewhere.
JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    1e308,
    "",
    "x",
    "[DONE]",
    "null",
    "{}",
    [],
    [None],
    {},
    {"type": 7},
    {"type": "text"},
]
JUNK += [
    "a2py1.t.e30",
    "a2py_1_!!",
    {"type": "thinking", "thinking": "", "signature": 5},
    [[]],
    {"text": None},
    "tool_use",
    "\u0000",
    "😀" * 3,
]
#: What no Python value is written as: a marker string → the JSON that stands in its place.
RAW = {
    "@nan": b"NaN",
    "@infinity": b"-Infinity",
    "@huge": b"1" + b"0" * 400,
    "@float": b"1e99999",
    "@half": b'"\\ud83d and \\uDC00"',
    "@pair": b'"\\ud83d\\ude00"',
    "@deep": b"[" * 150 + b"]" * 150,
    "@deeper": b'{"a":' * 300 + b"1" + b"}" * 300,
    "@deepest": b"[" * 2000 + b"]" * 2000,
    "@twice": b'{"type":"text","type":"image","text":"a","text":5}',
    "@cut": b'"\\u00',
    "@bytes": b'"\xff\xfe"',
}
JUNK += RAW


def to_json(value: Any) -> bytes:
    """`value` as JSON, its markers replaced."""
    out = orjson.dumps(value)
    for marker, raw in RAW.items():
        out = out.replace(b'"%b"' % marker.encode(), raw)
    return out


@cache
def requests() -> list[JSON]:
    """(config, request) of every golden step, and the captured requests."""
    rows = [
        {"config": step.config, "request": step.blocks["request"].json()}
        for case in golden.cases()
        for step in case.steps()
        if "request" in step.blocks and "$reply" not in step.blocks["request"].text
    ]
    if recordings.CLIENTS.is_dir():
        for path in sorted(recordings.CLIENTS.glob("*.json")):
            body = orjson.loads(path.read_bytes())["body"]
            if isinstance(body, dict) and "messages" in body and "max_tokens" in body:
                rows.append({"config": {}, "request": body})
    return rows


@cache
def bodies(name: str) -> list[bytes]:
    """Upstream bytes of the wire's goldens, and recordings up to 20 KB."""
    golden_bodies = [
        golden.upstream_bytes(step.blocks["upstream"])
        for case in golden.cases()
        for step in case.steps()
        if "upstream" in step.blocks and golden.deployment(step.config).wire == name
    ]
    return golden_bodies + [r.data for r in recordings.load() if r.api == name and len(r.data) < 20_000]


def mutate(value: Any, dice: random.Random, rate: float) -> Any:
    """`value` with some of its parts replaced, dropped or doubled."""
    if dice.random() < rate:
        return dice.choice(JUNK)
    if isinstance(value, dict):
        items = [(k, mutate(v, dice, rate)) for k, v in value.items() if dice.random() > rate]
        if items and dice.random() < rate:
            items.append((dice.choice(items)[0] + "x", dice.choice(JUNK)))
        return dict(items)
    if isinstance(value, list):
        out = [mutate(v, dice, rate) for v in value if dice.random() > rate]
        if out and dice.random() < rate * 2:
            out.insert(dice.randrange(len(out) + 1), dice.choice(out))
        return out
    return value


def mutate_lines(data: bytes, dice: random.Random) -> bytes:
    """An event stream or body with JSON values mutated, lines dropped, doubled or cut, bytes flipped."""
    lines = []
    for line in data.split(b"\n"):
        roll = dice.random()
        if roll < 0.03:
            continue
        head, _, payload = line.partition(b" ") if line[:5] == b"data:" else (b"", b"", line)
        if roll < 0.30 and payload[:1] in (b"{", b"["):
            try:
                payload = to_json(mutate(orjson.loads(payload), dice, 0.06))
            except ValueError:
                pass
            line = head + b" " + payload if head else payload
        elif roll < 0.33:
            line = line[: dice.randrange(len(line) + 1)]
        elif roll < 0.35 and line:
            at = dice.randrange(len(line))
            line = line[:at] + bytes([dice.randrange(256)]) + line[at + 1 :]
        lines += [line] * (2 if roll > 0.97 else 1)
    out = b"\n".join(lines)
    return out[: dice.randrange(len(out) + 1)] if dice.random() < 0.2 else out


@pytest.mark.parametrize("name", sorted(WIRES))
@given(seed=st.integers(0, 2**48))
@fuzz
def test_builders_raise_only_api_errors(name: str, seed: int) -> None:
    dice = random.Random(seed)
    case = dice.choice(requests())
    to = golden.deployment({**case["config"], "wire": name})
    body = mutate({"model": "m", **case["request"]}, dice, dice.choice([0.0, 0.01, 0.05, 0.2]))
    try:
        request = parse(to_json(body))
        upstream_request = wire(name).prepare(Call(request, "msg_1", 0.0, "session"), to, request.stream)
    except ApiError as error:
        assert error.status == 400 and error.message
        return
    upstream = orjson.loads(upstream_request.body)
    assert isinstance(upstream, dict) and upstream["model"] == to.model


@pytest.mark.parametrize("name", sorted(WIRES))
@given(seed=st.integers(0, 2**48))
@fuzz
def test_replies_come_back(name: str, seed: int) -> None:
    """What a client got, whatever the upstream sent, is history that is taken: every call with its result, under one
    id."""
    dice = random.Random(seed)
    to = golden.deployment({**dice.choice(requests())["config"], "wire": name})
    data = mutate_lines(dice.choice(bodies(name)), dice)
    options: Any = {"think_tags": True} if dice.random() < 0.2 else {}
    try:
        reply = streams.collect(
            wire(name),
            streams.upstream_request(**options),
            data,
            thinking=dice.choice(["show", "omit"]),
            origin=to.origin,
        )
    except ApiError:
        return
    calls = [block["id"] for block in reply["content"] if block["type"] == "tool_use"]
    results: Any = [{"type": "tool_result", "tool_use_id": id, "content": "Done."} for id in calls] or "Go on."
    turns = [("user", "Hello"), ("assistant", reply["content"]), ("user", results)]
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": role, "content": content} for role, content in turns]}
    if name == "native":  # of other vendors' blocks it promises nothing
        body = orjson.loads(orjson.dumps(body))
    request = parse(orjson.dumps(body))
    upstream = orjson.loads(wire(name).prepare(Call(request, "msg_1", 0.0), to, True).body)
    if name == "chat" and to.quirks.tools:
        call_ids = [call["id"] for message in upstream["messages"] for call in message.get("tool_calls", ())]
        assert [message["tool_call_id"] for message in upstream["messages"] if message["role"] == "tool"] == call_ids
        assert len(set(call_ids)) == len(calls)
    if name == "responses":
        call_ids = [item["call_id"] for item in upstream["input"] if item["type"] == "function_call"]
        assert [item["call_id"] for item in upstream["input"] if item["type"] == "function_call_output"] == call_ids
        assert len(set(call_ids)) == len(calls)


#: The native wire passes on what it does not know; what it promises all the same stands in native/test_fuzz.py.
STRICT = sorted(set(WIRES) - {"native"})


@pytest.mark.parametrize("name", STRICT)
@given(seed=st.integers(0, 2**48))
@fuzz
def test_decoders_keep_the_contract(name: str, seed: int) -> None:
    corpus = bodies(name)
    if not corpus:
        pytest.skip(f"no upstream bytes for {name} yet")
    dice = random.Random(seed)
    data = mutate_lines(dice.choice(corpus), dice)
    options: Any = {"stops": ("</severity>", "END")} if dice.random() < 0.2 else {}
    if dice.random() < 0.2:
        options["think_tags"] = True
    upstream_request = streams.upstream_request(**options)
    thinking = dice.choice(["show", "omit", "none"])
    whole = streams.run(wire(name), upstream_request, [data], thinking=thinking)
    places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice([1, 3, 30])))
    pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    assert streams.run(wire(name), upstream_request, pieces, thinking=thinking) == whole
    message = streams.accumulate(streams.events(whole))
    try:
        again = streams.collect(wire(name), upstream_request, data, thinking=thinking)
    except ApiError:
        assert "error" in message
    else:
        assert again == message
    try:
        sink = Reply("msg_1", "m")
        sink.message(reply(wire(name), upstream_request, data, sink), streams.ESTIMATE)
    except ApiError as error:
        assert error.message
