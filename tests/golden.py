"""Golden cases as readable documents: tests/goldens/<topic>.md, each `## heading` one test case. README.md here
describes the format.

Knows: the documents' notation, and how a case is run through a wire (every stream through every split, stream ==
unary).
Must not know: any upstream format.
Invariants: a case that checks nothing is an error; with A2PY_GOLDENS=write the checked blocks are rewritten in place,
nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from a2py import providers
from a2py.deployment import Deployment
from a2py.errors import CLIENT_ERRORS, ApiError, Blame
from a2py.messages import signatures
from a2py.messages.request import parse
from a2py.messages.sent import SentBody
from a2py.messages.types import JSON, Call, Prepared
from a2py.quirks import override
from a2py.wires import failure, wire
from a2py.wires.refusal.peer import Peer
from tests import streams

FOLDER = Path(__file__).parent / "goldens"
WRITE = os.environ.get("A2PY_GOLDENS") == "write"
WIDTH = 140
#: Blocks that are given, and blocks that are checked.
INPUTS = ("config", "request", "upstream", "also")
OUTPUTS = ("upstream-request", "upstream-headers", "upstream-url", "degraded", "added", "client")
REQUEST: JSON = {
    "model": "claude-test",
    "max_tokens": 1024,
    "stream": True,
    "messages": [{"role": "user", "content": "Hi"}],
}
NOW = 1_800_000_000.0
FENCE = re.compile(r"(`{3,})([\w-]+) *(.*)")


@dataclass(slots=True)
class Block:
    name: str
    options: list[str]
    line: int  #: of the document, where the content begins (from 1)
    lines: list[str]
    path: Path

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def where(self) -> str:
        return f"{self.path.name}:{self.line}"

    def json(self) -> Any:
        try:
            return orjson.loads(self.text)
        except ValueError as error:
            raise AssertionError(f"{self.where}: ```{self.name} is not JSON: {error}") from None

    def option(self, name: str) -> str:
        """Return the value of `name=value` after the fence's name."""
        return next((o.partition("=")[2] for o in self.options if o.startswith(name + "=")), "")


@dataclass(slots=True)
class Step:
    """One request and its answer. A later step of a case keeps the config of the one before."""

    config: JSON
    blocks: dict[str, Block] = field(default_factory=dict)
    also: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Case:
    path: Path
    title: str
    prose: str
    line: int
    blocks: list[Block]

    @property
    def id(self) -> str:
        return f"{self.path.stem}: {self.title}"

    @property
    def text(self) -> str:
        """Heading and prose: what the case says that it is about."""
        return f"{self.title}\n{self.prose}"

    def steps(self) -> list[Step]:
        config: JSON = {}
        steps: list[Step] = []
        for block in self.blocks:
            if block.name == "config":
                config = block.json()
                continue
            if not steps or block.name == "request" or (block.name == "upstream" and "upstream" in steps[-1].blocks):
                steps.append(Step(config))
            if block.name == "also":
                steps[-1].also.append(block)
            else:
                assert block.name not in steps[-1].blocks, f"{block.where}: ```{block.name} stands twice in one step"
                steps[-1].blocks[block.name] = block
        return steps


# -- documents ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> list[Case]:
    """The cases of one document."""
    cases: list[Case] = []
    block: Block | None = None
    fence = ""
    prose: list[str] = []
    for n, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if block is not None:
            if line == fence:
                block = None
            else:
                block.lines.append(line)
            continue
        match = FENCE.fullmatch(line)
        if line.startswith("## "):
            prose = []
            cases.append(Case(path, line[3:].strip(), "", n, []))
        elif match and cases:
            assert match[2] in INPUTS + OUTPUTS, (
                f"{path.name}:{n}: unknown block ```{match[2]}; known: {', '.join(INPUTS + OUTPUTS)}"
            )
            fence = match[1]
            block = Block(match[2], match[3].split(), n + 1, [], path)
            cases[-1].blocks.append(block)
        elif cases:
            prose.append(line)
            cases[-1].prose = "\n".join(prose).strip()
    assert block is None, f"{path.name}: the block at line {block.line if block else 0} is never closed"
    return cases


def cases() -> list[Case]:
    return [case for path in sorted(FOLDER.glob("*.md")) for case in read(path)]


def rewrite(path: Path, new: dict[int, list[str]]) -> None:
    """Give the blocks that begin at these lines their new content."""
    lines = path.read_text("utf-8").split("\n")
    blocks = {block.line: block for case in read(path) for block in case.blocks}
    for line in sorted(new, reverse=True):
        lines[line - 1 : line - 1 + len(blocks[line].lines)] = new[line]
    path.write_text("\n".join(lines), "utf-8")


def upstream_bytes(block: Block) -> bytes:
    """The block's lines, each ended by LF, with the notation ␍ = CR, ␊ = LF, ‹ff00› = those bytes, ∎ at the end = no
    last LF."""
    text = block.text + "\n"
    if text.endswith("∎\n"):
        text = text[:-2]
    text = text.replace("␍", "\r").replace("␊", "\n")
    parts = re.split(r"‹((?:[0-9a-f]{2})*)›", text)
    return b"".join(bytes.fromhex(part) if n % 2 else part.encode() for n, part in enumerate(parts))


def pretty(value: Any, indent: int = 0) -> str:
    """Return JSON in few lines: a value that fits into one line is in one."""
    flat = _one_line(value)
    if indent + len(flat) <= WIDTH or not isinstance(value, (dict, list)) or not value:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        inner = [f"{pad}{_string(k)}: {pretty(v, indent + 2)}" for k, v in value.items()]
        return "{\n" + ",\n".join(inner) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(pad + pretty(v, indent + 2) for v in value) + "\n" + " " * indent + "]"


def _string(s: Any) -> str:
    return orjson.dumps(s).decode()


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(k)}: {_one_line(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_one_line, value)) + "]"
    return _string(value)


# -- the client's bytes, one line an event -----------------------------------------------------------------------------


def _signature(s: str) -> str:
    """An envelope in the open, any other signature as it is."""
    envelope = signatures.read(s)
    if envelope is None or signatures.make(*envelope) != s:
        return _string(s)
    return f"{envelope.kind} {_one_line({'o': envelope.origin, **envelope.state})}"


def _start(event: JSON) -> str:
    block = event["content_block"]
    if {**block, **streams.EMPTY.get(block["type"], {}), "type": block["type"]} == block:
        rest = {
            k: v for k, v in block.items() if k not in ("type", "id", "name", *streams.EMPTY.get(block["type"], {}))
        }
        words = [block[k] for k in ("id", "name") if k in block]
        if not rest and all(re.fullmatch(r"[\w.:/-]+", word) for word in words):
            return " ".join(["content_block_start", str(event["index"]), block["type"], *words])
    return f"content_block_start {event['index']} {_one_line(block)}"


def _delta(event: JSON) -> str:
    delta = event["delta"]
    kind = delta["type"]
    value = next(v for k, v in delta.items() if k != "type")
    content = _signature(value) if kind == "signature_delta" else _one_line(value)
    return f"content_block_delta {event['index']} {kind} {content}"


def _end(event: JSON) -> str:
    delta = dict(event["delta"])
    words = ["message_delta", delta.pop("stop_reason")]
    if delta.get("stop_sequence") is None:
        del delta["stop_sequence"]
    if delta:
        words.append(_one_line(delta))
    return " ".join([*words, _usage(event["usage"])])


def _usage(usage: JSON) -> str:
    """`in 3 out 4`, with whatever else is not 0."""
    rest = {k: v for k, v in usage.items() if k not in ("input_tokens", "output_tokens") and v}
    return f"in {usage['input_tokens']} out {usage['output_tokens']}" + (f" {_one_line(rest)}" if rest else "")


LINES: dict[str, Callable[[JSON], str]] = {
    "message_start": lambda event: "message_start",
    "content_block_start": _start,
    "content_block_delta": _delta,
    "content_block_stop": lambda event: f"content_block_stop {event['index']}",
    "message_delta": _end,
    "message_stop": lambda event: "message_stop",
    "ping": lambda event: "ping",
    "error": lambda event: f"error {event['error']['type']} {_string(event['error']['message'])}",
}


def event_lines(data: bytes) -> list[str]:
    """The notation of a ```client block for a stream."""
    events = streams.events(data)
    for event in events:
        if event["type"] == "message_start":
            message = event["message"]
            assert (message["id"], message["model"]) == (streams.MESSAGE_ID, streams.MODEL), message
    return [LINES[event["type"]](event) for event in events]


def message_lines(message: JSON) -> list[str]:
    """The notation for a unary answer: its JSON without id, type, role and model."""
    assert (message["id"], message["type"], message["role"], message["model"]) == (
        streams.MESSAGE_ID,
        "message",
        "assistant",
        streams.MODEL,
    ), message
    visible = {k: v for k, v in _open_signatures(message).items() if k not in ("id", "type", "role", "model")}
    if visible["stop_sequence"] is None:
        del visible["stop_sequence"]
    visible["usage"] = _usage(visible["usage"])
    return pretty(visible).split("\n")


def _open_signatures(message: JSON) -> JSON:
    content = [
        {**block, "signature": _signature(block["signature"])} if block.get("type") == "thinking" else block
        for block in message["content"]
    ]
    return {**message, "content": content}


def error_lines(error: ApiError) -> list[str]:
    """The notation for an answer with an error status."""
    return [
        f"error {error.status} {error.type} {_string(error.message)}",
        f"kind: {error.kind}",
        *(f"{name}: {value}" for name, value in error.headers().items()),
        *([f"blame: {error.blame.value}"] if error.blame is not Blame.KIND and error.kind not in CLIENT_ERRORS else []),
        *(["echoed: yes"] if error.is_echo else []),
    ]


# -- running a case ----------------------------------------------------------------------------------------------------


def deployment(config: JSON) -> Deployment:
    """A deployment from a ```config block: `provider`, `model`, `base`, `wire`, `quirks`, and any other field of
    `Deployment`."""
    options = {k: v for k, v in config.items() if k not in ("quirks", "call")}
    provider = options.pop("provider", "custom")
    model = options.pop("model", "test-model")
    row = providers.PROVIDERS.get(provider)
    asked_base = options.pop("base", "")
    name = options.pop("wire", row.wire if row else "chat")
    base = (
        providers.find_native_base(provider, asked_base)
        if name == "native"
        else asked_base or (row.base if row else "")
    )
    quirks = override(providers.find_quirks(provider, asked_base, model), config.get("quirks", {}))
    if "drop" in options:
        options["drop"] = frozenset(options["drop"])
    auth = options.pop("auth", row.auth if row else "bearer")
    attributes: JSON = {"name": "test", "id": "test-id", "key": "sk-test", **options}
    return Deployment(
        provider=provider,
        model=model,
        base=base or "http://upstream.invalid/v1",
        auth=auth,
        wire=name,
        quirks=quirks,
        fixed_quirks=frozenset(config.get("quirks", ())) & {"reasoning_history"},
        **attributes,
    )


def call(body: JSON, config: JSON) -> Call:
    options = dict(config.get("call", {}))
    if "betas" in options:
        options["betas"] = tuple(options["betas"])
    return Call(parse(orjson.dumps(body)), streams.MESSAGE_ID, NOW, **options)


def sink_options(call: Call, to: Deployment) -> JSON:
    """What the relay tells the sink of a request."""
    mode = call.request.thinking_mode or ("show" if call.unasked_thinking else "none")
    return {"thinking": mode, "history_ids": call.request.tool_ids, "origin": to.origin}


def _substitute(value: Any, reply: list[JSON]) -> Any:
    """Replace `"$reply"` by the content of the answer before."""
    if value == "$reply":
        return reply
    if isinstance(value, dict):
        return {k: _substitute(v, reply) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, reply) for v in value]
    return value


class Run:
    """One case on its way: `new` holds the content of the checked blocks, by the line where each begins."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.new: dict[int, list[str]] = {}
        self.reply: list[JSON] = []

    def all(self) -> None:
        checks = 0
        for step in self.case.steps():
            checks += sum(name in step.blocks for name in OUTPUTS) + len(step.also)
            self.step(step)
        assert checks, f"{self.case.path.name}:{self.case.line}: '{self.case.title}' checks nothing"

    def step(self, step: Step) -> None:
        body = _substitute(step.blocks["request"].json() if "request" in step.blocks else REQUEST, self.reply)
        to = deployment(step.config)
        upstream = step.blocks.get("upstream")
        unary_body = upstream is not None and "unary" in upstream.options
        try:
            client_call = call({**body, "model": body.get("model", "claude-test")}, step.config)
            request = wire(to.wire).prepare(client_call, to, client_call.request.stream and not unary_body)
        except ApiError as error:
            assert upstream is None, f"{self.case.path.name}:{self.case.line}: the request was refused: {error}"
            self.check(step, "client", error_lines(error))
            return
        self.check(step, "upstream-request", orjson.loads(request.body))
        self.check(step, "upstream-url", [request.url])
        self.check(step, "added", sorted(request.added_fields))
        self.headers(step, request)
        if "upstream-request" in step.blocks or "degraded" in step.blocks:
            self.check(step, "degraded", list(request.degraded))
        if upstream is None:
            return
        status = next((int(o) for o in upstream.options if o.isdigit()), 200)
        message: JSON | None = None
        options = sink_options(client_call, to)
        if status != 200:
            self.check(step, "client", error_lines(self.refusal(upstream, status, request)))
        elif client_call.request.stream and not unary_body:
            message = self.stream(step, upstream_bytes(upstream), to, request, options)
        else:
            message = self.unary(step, upstream_bytes(upstream), to, request, options)
        if message is not None:
            self.reply = message.get("content", [])
            for other in step.also:
                self.same(message, other, to, request, options)

    def refusal(self, upstream: Block, status: int, request: Prepared) -> ApiError:
        headers = {name.lower(): value for name, _, value in (o.partition("=") for o in upstream.options) if value}
        return failure.read(status, headers, upstream_bytes(upstream), Peer(sent_body=SentBody(request.body)))

    def stream(self, step: Step, data: bytes, to: Deployment, request: Prepared, options: JSON) -> JSON:
        message = streams.check_contract(wire(to.wire), request, data, **options)
        whole = streams.run(wire(to.wire), request, [data], **options)
        self.check(step, "client", event_lines(whole))
        if "error" in message:
            return message
        again = streams.collect(wire(to.wire), request, data, **options)
        assert again == message, (
            f"{self.case.path.name}:{self.case.line}: the unary reply from this stream differs: {again} != {message}"
        )
        return message

    def unary(self, step: Step, data: bytes, to: Deployment, request: Prepared, options: JSON) -> JSON | None:
        try:
            message = streams.unary(wire(to.wire), request, data, **options)
        except ApiError as error:
            self.check(step, "client", error_lines(error))
            return None
        self.check(step, "client", message_lines(message))
        return message

    def same(self, message: JSON, other: Block, to: Deployment, request: Prepared, options: JSON) -> None:
        """Another upstream body for the same request: the same message (signatures aside: they name their wire)."""
        name = other.option("wire") or to.wire
        if "unary" in other.options:
            result = streams.unary(wire(name), request, upstream_bytes(other), **options)
        else:
            result = streams.check_contract(wire(name), request, upstream_bytes(other), **options)
        assert _drop_signatures(result) == _drop_signatures(message), f"{other.where}: gives another message"

    def headers(self, step: Step, request: Prepared) -> None:
        """Only the headers that the document names are compared."""
        block = step.blocks.get("upstream-headers")
        if block is not None:
            names = [line.partition(":")[0].strip().lower() for line in block.lines]
            by_name = {name.lower(): value for name, value in request.headers.items()}
            self.check(step, "upstream-headers", [f"{name}: {by_name.get(name, '(absent)')}" for name in names])

    def check(self, step: Step, name: str, actual: Any) -> None:
        """Compare with the block of that name; `degraded` must be empty where the block is absent."""
        block = step.blocks.get(name)
        if block is None:
            assert name != "degraded" or not actual, (
                f"{self.case.path.name}:{self.case.line}: degraded {actual}, but no ```degraded block says so"
            )
            return
        is_json = name == "upstream-request"
        self.new[block.line] = pretty(actual).split("\n") if is_json else actual
        if WRITE:
            return
        if is_json:
            assert actual == block.json(), f"{block.where}: ```{name} differs; got:\n{pretty(actual)}"
        else:
            lines = [line for line in block.lines if line.strip()]
            assert actual == lines, f"{block.where}: ```{name} differs; got:\n" + "\n".join(actual)


def _drop_signatures(message: JSON) -> JSON:
    content = [{k: v for k, v in block.items() if k != "signature"} for block in message["content"]]
    return {**message, "content": content}


def run(case: Case) -> None:
    """Run one case. With A2PY_GOLDENS=write, write the result into the document instead of comparing."""
    running = Run(case)
    running.all()
    if WRITE:
        fresh = next(
            c for c in read(case.path) if c.title == case.title
        )  # lines move while the cases before are written
        new_lines = {old.line: new.line for old, new in zip(case.blocks, fresh.blocks, strict=True)}
        rewrite(case.path, {new_lines[line]: content for line, content in running.new.items()})


def find_cases(pattern: str) -> Iterator[Case]:
    """The cases whose heading or prose matches `pattern`."""
    return (case for case in cases() if re.search(pattern, case.text))
