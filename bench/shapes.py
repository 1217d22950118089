"""The replies of the mock upstream, and the content that a client must have received, from the same tables.

Knows: OpenAI's chat-completion chunks and Anthropic's stream events as the vendors send them, byte for byte (field
order and white space of api.openai.com, 2025; without `obfuscation`, which only that host sends). Must not know:
sockets, time.
Invariants: every piece of content carries a stamp `~17 digits~` (nanoseconds of the machine's monotonic clock, the same
in every process) followed by a word of WORDS; the frame around it is constant for a piece's place, so that its length
is known before the stamp is.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

#: Token-like pieces; some need escapes in JSON, some are not ASCII.
WORDS = (
    " the",
    " quick",
    " brown",
    " fox",
    ",",
    " naïve",
    ' "quoted"',
    "\n",
    " tokens",
    " → ",
    " path\\to",
    ".",
    " jumps",
    " over",
    "\t",
    " é",
)
STAMP = re.compile(rb"~(\d{17})~")
_ZERO = "0" * 17
MODEL = "bench"
KINDS = ("text", "args", "reasoning")
TOOL_NAME, TOOL_ID = "Write", "call_BenchWriteA1b2C3d4E5f6"
PROMPT_TOKENS = 1200


class Plan(NamedTuple):
    """`chunks`: content pieces of one stream, `gap` seconds apart (0: as fast as the reader takes them; `batch` pieces
    in a write: a server writes each as it comes, and the kernel joins what the reader is too slow for); the streams of
    one plan begin `gap / streams` apart, so that they do not tick together; `size`: bytes of text of a unary reply."""

    kind: str = "text"
    chunks: int = 5
    gap: float = 0.0
    batch: int = 1
    streams: int = 1
    size: int = 20_000

    def encode(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> Plan:
        return cls(**json.loads(data))


class Script(NamedTuple):
    """One stream: whole SSE events at the start, one `(before the digits, after them)` for each word, whole events at
    the end."""

    opening: bytes
    pieces: tuple[tuple[bytes, bytes], ...]
    closing: bytes


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def word(kind: str, n: int) -> str:
    """Return the text of piece `n`, without its stamp. Words of arguments are inside a JSON string, so they are escaped
    once more."""
    text = WORDS[n % len(WORDS)]
    return _json(text)[1:-1] if kind == "args" else text


def make_content(plan: Plan, stamps: list[bytes]) -> bytes:
    """Return the content (text, thinking or arguments) of a reply with these stamps, as UTF-8."""
    text = "".join(f"~{stamp.decode()}~{word(plan.kind, n)}" for n, stamp in enumerate(stamps))
    return (f'{{"content":"{text}"}}' if plan.kind == "args" else text).encode()


def unary_text(size: int) -> str:
    """Return about `size` bytes of text, always the same."""
    line = "".join(WORDS)
    return (line * (size // len(line.encode()) + 1))[:size]


def _split(event: str) -> tuple[bytes, bytes]:
    before, after = event.encode().split(_ZERO.encode())
    return before, after


# -- OpenAI ------------------------------------------------------------------------------------------------------------


def _chunk(delta: object, finish: str | None = None) -> str:
    body = {
        "id": "chatcmpl-BenchA1b2C3d4E5f6G7h8I9j0K1l2",
        "object": "chat.completion.chunk",
        "created": 1_763_900_000,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "usage": None,
    }
    return f"data: {_json(body)}\n\n"


def _usage(chunks: int) -> dict[str, object]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": chunks,
        "total_tokens": PROMPT_TOKENS + chunks,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _call(arguments: str) -> dict[str, object]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}


_DELTAS = {"text": lambda s: {"content": s}, "reasoning": lambda s: {"reasoning_content": s}, "args": _call}


def openai(plan: Plan) -> Script:
    """Return a chat-completion stream with its usage chunk. `reasoning` ends with one word of text, because every reply
    has some."""
    delta = _DELTAS[plan.kind]
    opening = _chunk({"role": "assistant", "content": "", "refusal": None})
    closing = ""
    if plan.kind == "args":
        function = {"name": TOOL_NAME, "arguments": ""}
        call = {"index": 0, "id": TOOL_ID, "type": "function", "function": function}
        opening = _chunk({"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}) + _chunk(
            _call('{"content":"')
        )
        closing = _chunk(_call('"}'))
    elif plan.kind == "reasoning":
        closing = _chunk({"content": "done"})
    pieces = tuple(_split(_chunk(delta(f"~{_ZERO}~{word(plan.kind, n)}"))) for n in range(len(WORDS)))
    last = json.loads(_chunk({})[6:]) | {"choices": [], "usage": _usage(plan.chunks)}
    closing += _chunk({}, "tool_calls" if plan.kind == "args" else "stop") + f"data: {_json(last)}\n\ndata: [DONE]\n\n"
    return Script(opening.encode(), pieces, closing.encode())


def openai_unary(plan: Plan) -> bytes:
    body = json.loads(_chunk({})[6:])
    message: dict[str, object] = {
        "role": "assistant",
        "content": unary_text(plan.size),
        "refusal": None,
        "annotations": [],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _json(body | {"object": "chat.completion", "choices": [choice], "usage": _usage(plan.size // 4)}).encode()


# -- Anthropic ---------------------------------------------------------------------------------------------------------


def _event(type: str, **body: object) -> str:
    return f"event: {type}\ndata: {_json({'type': type, **body})}\n\n"


_BLOCKS = {
    "text": ({"type": "text", "text": ""}, "text_delta", "text"),
    "reasoning": ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
    "args": ({"type": "tool_use", "id": TOOL_ID, "name": TOOL_NAME, "input": {}}, "input_json_delta", "partial_json"),
}


def anthropic(plan: Plan) -> Script:
    """Return the same reply from an upstream that speaks Anthropic, for proxies that do not translate and for a2py's
    native wire."""
    block, type, field = _BLOCKS[plan.kind]

    def delta(text: str) -> str:
        return _event("content_block_delta", index=0, delta={"type": type, field: text})

    usage = {
        "input_tokens": PROMPT_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    }
    message: dict[str, object] = {
        "id": "msg_BenchA1b2C3d4",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
    }
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    opening = _event("message_start", message=message) + _event("content_block_start", index=0, content_block=block)
    closing = ""
    if plan.kind == "args":
        opening += delta('{"content":"')
        closing += delta('"}')
    if plan.kind == "reasoning":
        closing += _event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "QmVuY2g="})
    closing += _event("content_block_stop", index=0)
    if plan.kind == "reasoning":
        closing += _event("content_block_start", index=1, content_block=_BLOCKS["text"][0])
        closing += _event("content_block_delta", index=1, delta={"type": "text_delta", "text": "done"})
        closing += _event("content_block_stop", index=1)
    stop = {"stop_reason": "tool_use" if plan.kind == "args" else "end_turn", "stop_sequence": None}
    closing += _event("message_delta", delta=stop, usage=usage | {"output_tokens": plan.chunks}) + _event(
        "message_stop"
    )
    pieces = tuple(_split(delta(f"~{_ZERO}~{word(plan.kind, n)}")) for n in range(len(WORDS)))
    return Script(opening.encode(), pieces, closing.encode())


def anthropic_unary(plan: Plan) -> bytes:
    message = json.loads(anthropic(plan).opening.split(b"\n")[1][6:])["message"]
    content = [{"type": "text", "text": unary_text(plan.size)}]
    usage = message["usage"] | {"output_tokens": plan.size // 4}
    return _json(message | {"content": content, "stop_reason": "end_turn", "usage": usage}).encode()


SCRIPTS = {"openai": openai, "anthropic": anthropic}
UNARY = {"openai": openai_unary, "anthropic": anthropic_unary}


def render(script: Script, stamps: list[bytes]) -> bytes:
    """Return the whole body of a stream with these stamps."""
    pieces = script.pieces
    middle = b"".join(b"%b%b%b" % (*_between(pieces, n, stamp),) for n, stamp in enumerate(stamps))
    return script.opening + middle + script.closing


def _between(pieces: tuple[tuple[bytes, bytes], ...], n: int, stamp: bytes) -> tuple[bytes, bytes, bytes]:
    before, after = pieces[n % len(pieces)]
    return before, stamp, after
