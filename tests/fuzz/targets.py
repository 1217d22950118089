"""The fuzz targets: `TARGETS[name](data)` raises on what must never be, and on nothing else. `python -m tests.fuzz`
feeds them.

Knows: the promises of parser, builders, decoders and HTTP surface. Must not know: atheris (the corpus runs through them
in `make test` too).
Invariants: a target is a function of its bytes; the first byte decides what is no input (cuts, thinking shown or not,
which deployment)."""

from __future__ import annotations

import base64
import random
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import orjson

from a2py import sse
from a2py.config import ConfigError, load
from a2py.errors import ApiError
from a2py.messages import signatures
from a2py.messages.count import count, estimate
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call
from a2py.wires import WIRES, failure, wire
from a2py.wires.chat.stream import ChatDecoder
from tests import golden, streams, test_sse
from tests.fuzz.surface import KEY, Surface
from tests.http1.hostile import RESPONSES
from tests.http1.reading import check
from tests.proxied import message
from tests.wires import test_fuzz as wires_fuzz
from tests.wires.native import test_fuzz as native_fuzz


def pieces(data: bytes, dice: random.Random) -> list[bytes]:
    """`data` whole, byte by byte, or cut at a few places."""
    ways = dice.randrange(4)
    if ways < 2:
        return [data] if ways else [data[n : n + 1] for n in range(len(data))]
    places = sorted(dice.randrange(len(data) + 1) for _ in range(3))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def events(data: bytes) -> None:
    """The SSE parser returns what the standard's slow algorithm returns, however it is fed."""
    cuts, body = random.Random(data[:1]), data[1:]
    assert test_sse.parse(*pieces(body, cuts)) == test_sse.slow(body)
    parser = sse.SSEParser()
    parser.feed(body)
    assert len(parser._line) + sum(map(len, parser._data)) <= len(body)


@cache
def deployments(name: str) -> list[JSON]:
    """Every configuration of the goldens, on this wire."""
    configs = {orjson.dumps({**step.config, "wire": name}) for case in golden.cases() for step in case.steps()}
    return [orjson.loads(config) for config in sorted(configs)]


def build(name: str, data: bytes) -> None:
    """A request is refused with an ApiError, or becomes JSON for its model; and whatever is parsed can be counted."""
    configs = deployments(name)
    config = configs[int.from_bytes(data[:2], "big") % len(configs)]
    try:
        request = parse(data[2:])
        assert count(request) >= 0 and estimate(request) >= 0
        upstream_request = wire(name).prepare(
            Call(request, "msg_1", 0.0, "session"), golden.deployment(config), request.stream
        )
    except ApiError as error:
        assert error.status in (400, 413) and error.message
        return
    body = orjson.loads(upstream_request.body)
    assert isinstance(body, dict)
    assert not any(
        "\r" in text or "\n" in text or "\0" in text for pair in upstream_request.headers.items() for text in pair
    ), "a header could be injected"


def decode(name: str, data: bytes) -> None:
    """A stream keeps the decoder's contract, and its unary form says the same."""
    dice, body = random.Random(data[:1]), data[1:]
    if name == "native":
        native_fuzz.check(body, dice)
        return
    request = streams.upstream_request(think_tags=dice.random() < 0.3, stops=("END",) if dice.random() < 0.3 else ())
    thinking = dice.choice(["show", "omit", "none"])
    whole = streams.run(wire(name), request, [body], thinking=thinking)
    assert streams.run(wire(name), request, pieces(body, dice), thinking=thinking) == whole
    if name == "chat":
        assert streams.run(wire(name)._replace(decoder=ChatDecoder), request, [body], thinking=thinking) == whole, (
            "the fast path differs"
        )
    message = streams.accumulate(streams.events(whole))
    try:
        assert streams.collect(wire(name), request, body, thinking=thinking) == message
    except ApiError:
        assert "error" in message


def reply(name: str, data: bytes) -> None:
    """A unary body becomes a message or an ApiError."""
    request = streams.upstream_request(think_tags=data[:1] > b"\x80")
    try:
        message = streams.unary(wire(name), request, data[1:])
        assert (message["type"] == "message" and message["stop_reason"] in streams.STOP_REASONS) or name == "native"
        orjson.dumps(message)
    except ApiError as error:
        assert error.message


def refusal(data: bytes) -> None:
    """An upstream's error, whatever its body, is an envelope with a status that a client understands, and no second
    line in a header."""
    status = 400 + int.from_bytes(data[:2], "big") % 200
    text = data[3:].decode("latin-1")
    error = failure.read(
        status, {"retry-after": text[: data[2]] if len(data) > 2 else "", "content-type": text[:20]}, data[3:]
    )
    assert 400 <= error.status < 600 and error.message
    assert orjson.loads(error.body("req_1"))["type"] == "error"
    assert not any("\r" in value or "\n" in value for value in error.headers().values())


def forge(data: bytes) -> None:
    """Vendor state that comes back from outside, as text or as the JSON in a well-made signature: it is ignored, or can
    be signed again, and a request with it is built."""
    configs = deployments("chat" if data[:1] < b"\x80" else "responses")
    config = configs[int.from_bytes(data[:2], "big") % len(configs)]
    to = golden.deployment(config)
    kind = sorted(signatures.KINDS)[data[2] % len(signatures.KINDS)] if len(data) > 2 else ""
    body = data[3:].replace(b"$origin", to.origin.encode())
    envelope = f"{signatures.VERSION}.{kind}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"
    for signature in (body.decode("utf-8", "replace"), envelope):
        content = signatures.read(signature)
        if content is not None:
            assert signatures.read(signatures.make(content.kind, content.origin, content.state)) == content
    block = {"type": "thinking", "thinking": "Hm.", "signature": envelope}
    call_ = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [block, call_]}]
    request = parse(orjson.dumps({"model": "m", "max_tokens": 9, "messages": messages}))
    assert count(request) > 0
    out = orjson.loads(wire(config["wire"]).prepare(Call(request, "msg_1", 0.0), to, True).body)
    assert out["model"] == to.model


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="a2py-fuzz-"))


def configuration(data: bytes) -> None:
    """A configuration file is read, or rejected with a message that repeats nothing of its content."""
    file = folder() / "config.yaml"
    file.write_bytes(data)
    try:
        load(str(file), {"OPENAI_API_KEY": "sk-environment"}, str(folder()))
    except ConfigError as error:
        assert error.message and "sk-environment" not in str(error)


@cache
def surface(key: str) -> Surface:
    return Surface(key)


def http(data: bytes) -> None:
    """Bytes of a client, see surface.py."""
    dice, body = random.Random(data[:1]), data[1:]
    surface(KEY if data[:1] > b"\xc0" else "").talk(*pieces(body, dice))


def responses(data: bytes) -> None:
    """Bytes of an upstream: our reader keeps its promises, and reads what h11 reads where both take it."""
    check(data[1:], random.Random(data[:1]))


class Target(NamedTuple):
    """`seeds`: what to begin with; `lines`: mutate the JSON in its lines too."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    lines: bool = False
    words: tuple[str, ...] = ()


def request_seeds() -> list[bytes]:
    return [
        bytes([n >> 8 & 255, n & 255]) + orjson.dumps({"model": "m", **row["request"]})
        for n, row in enumerate(wires_fuzz.requests())
    ]


def body_seeds(name: str) -> list[bytes]:
    return [bytes([n & 255]) + body for n, body in enumerate(wires_fuzz.bodies(name)) if len(body) < 8000]


def forged_seeds() -> list[bytes]:
    states: list[JSON] = [
        {"text": "Hm."},
        {
            "d": [{"type": "reasoning.text", "text": "Hm.", "signature": "s", "index": 0}],
            "f": {"reasoning_opaque": "x"},
        },
        {"s": "signature"},
        {"item": {"id": "rs_1", "encrypted_content": "x", "summary": ["Hm."]}, "raw": True},
    ]
    heads = [bytes([n * 37 & 255, n & 255, n & 255]) for n in range(0, 256, 5)]
    return [head + orjson.dumps({**state, "o": "$origin"}) for head in heads for state in states] + [
        b"\0\0\0a2py1.t.e30"
    ]


def configuration_seeds() -> list[bytes]:
    here = Path(__file__).resolve().parents[2]
    return [
        file.read_bytes() for pattern in ("examples/**/*.yaml", "tests/*.yaml") for file in sorted(here.glob(pattern))
    ]


def http_seeds() -> list[bytes]:
    whole, body = orjson.dumps(message(stream=False)), orjson.dumps(message())
    head = b"Host: localhost\r\nx-api-key: %b\r\n" % KEY.encode()
    post = b"POST /v1/messages HTTP/1.1\r\n" + head
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole)
    gets = (
        "/",
        "/health",
        "/metrics",
        "/v1/models?limit=2",
        "/v1/models/test-model",
        "/v1/model/info",
        "/x/v1/messages",
        "/health/readiness",
    )
    seeds = [b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), head) for path in gets]
    seeds += [post + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in (whole, body, b"{}", b"")]
    seeds += [
        post + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
        post + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
    ]
    seeds += [
        post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        b"HEAD / HTTP/1.0\r\n\r\n" + seeds[0],
    ]
    seeds += [
        post.replace(b"messages", b"messages/count_tokens") + b"Content-Length: %d\r\n\r\n%b" % (len(whole), whole)
    ]
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    seeds += [
        seeds[0].replace(b"Host", upgrade + b"Host") + seeds[1],
        post + upgrade + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + seeds[0],
    ]
    seeds += [post + upgrade + b"Content-Length: %d\r\n\r\n%b" % (len(whole), whole) + seeds[0]]
    seeds += [
        b"".join(seeds[:3]),
        seeds[9] * 2 + seeds[0],
        post + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}" + seeds[0],
    ]
    return [b"\x00" + seed for seed in seeds] + [b"\xff" + seed for seed in seeds]


def response_seeds() -> list[bytes]:
    return [bytes([n & 255]) + response for n, response in enumerate(RESPONSES.values()) if len(response) < 5000]


RESPONSE_WORDS = (
    *(
        "HTTP/1.1 200 OK\\x0d\\x0a",
        "HTTP/1.0 200\\x0a",
        "HTTP/1.1 100 Continue\\x0d\\x0a\\x0d\\x0a",
        "HTTP/1.1 204 \\x0d\\x0a",
    ),
    *(
        "Transfer-Encoding: chunked\\x0d\\x0a",
        "Transfer-Encoding: identity",
        "Content-Length: 5",
        "Connection: close",
        "keep-alive",
    ),
    *(
        "\\x0d\\x0a\\x0d\\x0a",
        "\\x0d\\x0a",
        "\\x0a",
        "\\x0d",
        "0\\x0d\\x0a\\x0d\\x0a",
        "5\\x0d\\x0ahello\\x0d\\x0a",
        ";a=\\x22b\\x22",
        "\\x00",
        "\\x0b",
    ),
)
HTTP_WORDS = (
    *(
        "GET ",
        "POST ",
        "HEAD ",
        "OPTIONS ",
        "CONNECT ",
        " HTTP/1.1\\x0d\\x0a",
        " HTTP/1.0\\x0d\\x0a",
        "\\x0d\\x0a\\x0d\\x0a",
        "\\x0d\\x0a",
        "\\x0a",
    ),
    *(
        "Transfer-Encoding: chunked",
        "Connection: Upgrade\\x0d\\x0aUpgrade: h2c",
        "Transfer-Encoding:",
        "Content-Length: ",
        "Content-Length: 0",
        "Expect: 100-continue",
        "Upgrade: websocket",
    ),
    *(
        "Connection: close",
        "Connection: keep-alive",
        "Connection: Upgrade",
        "Content-Encoding: gzip",
        "Host: ",
        "Origin: http://evil.example",
    ),
    *(
        "Authorization: Bearer ",
        "x-api-key: ",
        "x-a2py-hop: ",
        "0\\x0d\\x0a\\x0d\\x0a",
        ";ext=1",
        "x-stainless-timeout: ",
        "identity",
        "\\x0b",
        "\\x00",
    ),
)
SSE_WORDS = (
    "data: ",
    "data:",
    "event: ",
    ": ping",
    "\\x0a\\x0a",
    "\\x0d\\x0a",
    "\\x0d",
    "\\xef\\xbb\\xbf",
    "[DONE]",
    "data: [DONE]\\x0a\\x0a",
)

CONFIG_WORDS = (
    *(
        "model_list:",
        "model_name: ",
        "litellm_params:",
        "model: ",
        "api_key: ",
        "api_base: ",
        "os.environ/",
        "litellm_settings:",
    ),
    *(
        "router_settings:",
        "general_settings:",
        "a2py:",
        "quirks:",
        "include:",
        "fallbacks:",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "!!",
        "${X}",
        "\\x0a  ",
    ),
)

TARGETS: dict[str, Target] = {
    "sse": Target(events, lambda: [b"\x01" + body for body in test_sse.BODIES.values()], words=SSE_WORDS),
    "http": Target(http, http_seeds, words=HTTP_WORDS),
    "responses": Target(responses, response_seeds, words=RESPONSE_WORDS),
    "envelope": Target(forge, forged_seeds, lines=True),
    "config": Target(configuration, configuration_seeds, words=CONFIG_WORDS),
}
for _name in sorted(WIRES):
    TARGETS[f"build-{_name}"] = Target(partial(build, _name), request_seeds, lines=True)
    TARGETS[f"decode-{_name}"] = Target(partial(decode, _name), partial(body_seeds, _name), lines=True, words=SSE_WORDS)
    TARGETS[f"reply-{_name}"] = Target(partial(reply, _name), partial(body_seeds, _name), lines=True)
    TARGETS[f"error-{_name}"] = Target(refusal, partial(body_seeds, _name), lines=True)
