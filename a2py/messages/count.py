"""How many tokens a request is: a cheap guess for message_start, a careful one for count_tokens, and what real replies
teach.

Knows: which parts of a request a model reads, and what they cost on average.
Must not know: any tokenizer, clocks, how a number reaches the client.
Invariants: raises on no parsed request; the cost of `estimate` does not grow with the length of strings; nothing is
counted twice.

The weights of `text_tokens` were fitted against o200k on 178 files (prose, Markdown, Python, JavaScript, C, tool
schemas, JSON) in 2026-11: mean error 4 %, worst 25 % for a single file; a quarter of the bytes would be 8 % and 35 %.
`Calibration` removes what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py import jsontext
from a2py.messages import media, signatures
from a2py.messages.types import JSON, Request
from a2py.slices import BYTES, ITEMS, Slices, at_once

#: Bytes of a JSON body for one token (Claude Code 2.1.330: 4.6 to 5.2 by `count`; schemas and escapes make it more than
#: prose has).
BODY_BYTES = 4.6
#: Tokens around a message, and around a tool.
MESSAGE, TOOL = 4, 8
#: Anthropic's typed client tools come without a schema (docs.claude.com, tool use: what each adds); by the start of
#: their type.
TYPED_TOOLS = {
    "bash_": 245,
    "text_editor_": 700,
    "computer_": 735,
    "memory_": 500,
    "web_search_": 400,
    "web_fetch_": 400,
}
#: Fields that no model reads as text.
UNREAD = frozenset(
    {
        "type",
        "cache_control",
        "signature",
        "encrypted_content",
        "encrypted_index",
        "data",
        "id",
        "tool_use_id",
        "file_id",
    }
)
#: Levels of an unknown block that are looked at.
DEPTH = 32
#: Characters of text that are counted together.
_PIECE = BYTES // 4

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CAPITALS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = b"0123456789"
_SPACES = b" \t"
_LINES = b"\r\n"
_SIGNS = bytes(c for c in range(128) if c not in _LETTERS + _DIGITS + _SPACES + _LINES)
_TWO, _THREE, _FOUR = bytes(range(0xC2, 0xE0)), bytes(range(0xE0, 0xF0)), bytes(range(0xF0, 0xF5))
#: Class of bytes → tokens for each; a capital counts as letter and once more. The last three are first bytes of longer
#: characters.
_WEIGHTS = ((_LETTERS, 0.171), (_CAPITALS, 0.161), (_DIGITS, 0.62), (_SPACES, 0.249), (_LINES, 0.347), (_SIGNS, 0.512))
_FOREIGN = ((_TWO, 0.3), (_THREE, 0.75), (_FOUR, 2.0))


def bytes_tokens(text: bytes) -> float:
    """Tokens of UTF-8 text."""
    size = len(text)
    total = sum(weight * (size - len(text.translate(None, kind))) for kind, weight in _WEIGHTS)
    if not text.isascii():
        total += sum(weight * (size - len(text.translate(None, kind))) for kind, weight in _FOREIGN)
    return total


def text_tokens(text: str) -> float:
    return bytes_tokens(text.encode("utf-8", "replace"))


# -- count -------------------------------------------------------------------------------------------------------------


class _Tally:
    """What a request holds, gathered block by block: `tokens` that are certain, and texts and values that are still to
    be counted."""

    __slots__ = ("_large", "_sealed", "_size", "_texts", "_values", "tokens")

    def __init__(self) -> None:
        self.tokens = 0.0
        self._texts: list[str] = []
        self._size = 0
        self._values: list[tuple[Any, int]] = []  # of blocks without a rule, and the levels that are looked at
        self._sealed: list[str] = []  # signatures that hold the thinking itself
        self._large: list[list[JSON]] = []  # long lists of blocks

    def text(self, text: Any) -> None:
        if isinstance(text, str):
            self._texts.append(text)
            self._size += len(text)

    def json(self, value: Any) -> None:
        self.text(jsontext.dumps(value).decode())

    def strings(self, value: Any) -> None:
        """The strings in `value`."""
        self._values.append((value, DEPTH))

    def sealed(self, signature: str) -> None:
        self._sealed.append(signature)

    def content(self, content: Any) -> None:
        """A string, or a list of blocks."""
        if not isinstance(content, list):
            self.text(content)
        elif len(content) > ITEMS:
            self._large.append(content)
        else:
            self._blocks(content)

    def _blocks(self, blocks: list[JSON]) -> None:
        for block in blocks:
            _BLOCKS.get(block["type"], _unknown)(self, block)

    @property
    def is_full(self) -> bool:
        return self._size > BYTES or bool(self._large)

    def settle(self) -> Slices[None]:
        """Count what was gathered. Texts are counted together: a call for each of many short ones would take ten times
        as long."""
        while self._large:
            blocks = self._large.pop()
            for at in range(0, len(blocks), ITEMS):
                self._blocks(blocks[at : at + ITEMS])
                yield
        yield from self._open()
        yield from self._look_into()
        texts, self._texts, self._size = self._texts, [], 0
        whole = "".join(texts)
        for at in range(0, len(whole), _PIECE):
            self.tokens += text_tokens(whole[at : at + _PIECE])
            yield

    def _open(self) -> Slices[None]:
        for signature in self._sealed:
            opened = signatures.read(signature)
            self.text(opened.state.get("text") if opened else None)
            yield
        self._sealed.clear()

    def _look_into(self) -> Slices[None]:
        values, n = self._values, 0
        while values:
            value, depth = values.pop()
            if isinstance(value, str):
                self.text(value)
            elif depth and isinstance(value, dict):
                values += [(inner, depth - 1) for name, inner in value.items() if name not in UNREAD]
            elif depth and isinstance(value, list):
                values += [(inner, depth - 1) for inner in value]
            n += 1
            if not n % ITEMS:
                yield


def _image(tally: _Tally, block: JSON) -> None:
    source = block["source"]
    tally.tokens += media.image_tokens(source["data"]) if source["type"] == "base64" else media.IMAGE_UNKNOWN


def _document(tally: _Tally, block: JSON) -> None:
    source = block["source"]
    tally.text(block.get("title"))
    tally.text(block.get("context"))
    if source["type"] == "base64":
        tally.tokens += media.pdf_tokens(source["data"])
    elif source["type"] == "text":
        tally.text(source["data"])
    elif source["type"] == "content":
        tally.content(source["content"])
    else:
        tally.tokens += media.PAGE


def _thinking(tally: _Tally, block: JSON) -> None:
    if not block["thinking"] and signatures.is_ours(block.get("signature")):
        tally.sealed(block["signature"])
    else:
        tally.text(block["thinking"])


def _tool_use(tally: _Tally, block: JSON) -> None:
    tally.tokens += TOOL
    tally.text(block["name"])
    tally.json(block["input"])


def _tool_result(tally: _Tally, block: JSON) -> None:
    tally.tokens += TOOL
    tally.content(block.get("content"))


def _search_result(tally: _Tally, block: JSON) -> None:
    tally.text(block.get("title"))
    tally.text(block.get("source"))
    tally.content(block.get("content"))


_BLOCKS: dict[str, Callable[[_Tally, JSON], None]] = {
    "text": lambda tally, block: tally.text(block["text"]),
    "image": _image,
    "document": _document,
    "thinking": _thinking,
    "redacted_thinking": lambda tally, block: None,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "search_result": _search_result,
}


def _unknown(tally: _Tally, block: JSON) -> None:
    tally.strings(block)


def _tool(tally: _Tally, tool: JSON) -> None:
    tally.tokens += TOOL
    if "input_schema" in tool:
        tally.json({name: tool[name] for name in ("name", "description", "input_schema") if name in tool})
        return
    kind = tool.get("type") or ""
    tally.tokens += next((cost for start, cost in TYPED_TOOLS.items() if kind.startswith(start)), 0)
    tally.strings(tool)


def count_in_slices(request: Request) -> Slices[int]:
    """Input tokens of everything that the model reads. About 0.4 ms for 100 KB of text."""
    tally = _Tally()
    for block in request.system:
        tally.text(block["text"])
    for n, tool in enumerate(request.tools, 1):
        _tool(tally, tool)
        if not n % ITEMS or tally.is_full:
            yield from tally.settle()
    for n, message in enumerate(request.messages, 1):
        if not n % ITEMS:
            yield
        tally.tokens += MESSAGE
        tally.content(message["content"])
        if tally.is_full:
            yield from tally.settle()
    yield from tally.settle()
    return max(1, round(tally.tokens))


def count(request: Request) -> int:
    """`count_in_slices`, at once."""
    return at_once(count_in_slices(request))


# -- estimate ----------------------------------------------------------------------------------------------------------


def _media(content: list[JSON]) -> tuple[int, int]:
    """Characters of base64 data in a message's content, and the tokens that its media are."""
    characters = tokens = 0
    for block in content:
        kind = block["type"]
        if kind == "tool_result":
            inner = block.get("content")
            more = _media(inner) if isinstance(inner, list) else (0, 0)
            characters, tokens = characters + more[0], tokens + more[1]
        elif kind in ("image", "document"):
            data = block["source"].get("data") if block["source"]["type"] == "base64" else None
            if isinstance(data, str):
                characters += len(data)
                tokens += media.image_tokens(data) if kind == "image" else media.pdf_tokens(data, look=False)
            elif kind == "image":
                tokens += media.IMAGE_UNKNOWN
    return characters, tokens


def estimate_in_slices(request: Request) -> Slices[int]:
    """Input tokens, roughly, from the body's size: what message_start tells before the upstream has said anything. Some
    µs."""
    characters = tokens = 0
    for n, message in enumerate(request.messages, 1):
        content = message["content"]
        for at in range(0, len(content), ITEMS) if isinstance(content, list) else ():
            more = _media(content[at : at + ITEMS])
            characters, tokens = characters + more[0], tokens + more[1]
            if at or more[0]:
                yield
        if not n % ITEMS:
            yield
    return max(1, int((request.size - characters) / BODY_BYTES) + tokens)


def estimate(request: Request) -> int:
    """`estimate_in_slices`, at once."""
    return at_once(estimate_in_slices(request))


# -- what replies teach ------------------------------------------------------------------------------------------------


class Calibration:
    """Ratio of real to counted tokens per model, learned from the `prompt_tokens` of replies.

    Both sums fade by `KEEP` a reply, so that large prompts weigh more than small ones and a change of tokenizer is
    forgotten in a few replies. One instance belongs to one way of counting. Holds at most MODELS models; state lives in
    memory only."""

    KEEP = 0.6
    #: Ratios beyond these are no tokenizer's: a cut prompt (Ollama), usage of another call, nonsense.
    LEAST, MOST = 0.3, 3.5
    MODELS = 256
    #: Replies that are always worth a careful count; after them every EVERY-th.
    FIRST, EVERY = 3, 8

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: dict[
            str, tuple[float, float, int]
        ] = {}  # model → faded real sum, faded counted sum, replies seen

    def wants(self, model: str) -> bool:
        """Whether the next reply of `model` should be observed, where counting costs something. Counts the replies."""
        real, counted, seen = self._models.get(model, (0.0, 0.0, 0))
        self._store(model, real, counted, seen + 1)
        return seen < self.FIRST or seen % self.EVERY == 0

    def observe(self, model: str, counted: int, real: int) -> bool:
        """Learn from one reply; False where the pair was no honest one (and nothing was learned)."""
        if counted <= 0 or not self.LEAST <= real / counted <= self.MOST:
            return False
        a, b, seen = self._models.get(model, (0.0, 0.0, 0))
        self._store(model, a * self.KEEP + real, b * self.KEEP + counted, seen)
        return True

    def ratio(self, model: str) -> float:
        """Real tokens for one counted; 1.0 where nothing is known."""
        real, counted, _ = self._models.get(model, (0.0, 0.0, 0))
        return real / counted if counted else 1.0

    def apply(self, model: str, counted: int) -> int:
        return max(1, round(counted * self.ratio(model)))

    def _store(self, model: str, real: float, counted: float, seen: int) -> None:
        self._models.pop(model, None)
        self._models[model] = (real, counted, seen)
        if len(self._models) > self.MODELS:
            del self._models[next(iter(self._models))]
