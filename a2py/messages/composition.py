"""What fills the context of a request: the tokens of each system block, tool, turn, result and image.

Knows: the parts of a request, how tokens are counted (count.py). Must not know: tokenizers, who reads it.
Invariants: nothing raises on a parsed request; the sum is that of `count`, but for rounding; at most MAX_PARTS, what
follows is one part.
"""

from __future__ import annotations

from typing import NamedTuple

from a2py.messages.count import count_in_slices
from a2py.messages.types import JSON, Request
from a2py.slices import Slices, at_once

#: Parts that are told apart.
MAX_PARTS = 2000
#: Characters of a label.
LABEL = 100


class Part(NamedTuple):
    """`kind`: `system`, `tool`, `turn`, `result` or `image`; `label`: a name for people, without content."""

    kind: str
    label: str
    tokens: int


def compose_in_slices(request: Request) -> Slices[list[Part]]:
    """Return the parts of `request`, in its order."""
    parts: list[Part] = []
    rest = 0
    names: dict[str, str] = {}
    for kind, label, piece in _split(request, names):
        tokens = yield from count_in_slices(piece)
        if len(parts) < MAX_PARTS:
            parts.append(Part(kind, label[:LABEL], tokens))
        else:
            rest += tokens
        yield
    if rest:
        parts.append(Part("turn", "all that follows", rest))
    return parts


def compose(request: Request) -> list[Part]:
    """Run `compose_in_slices` at once."""
    return at_once(compose_in_slices(request))


def _split(request: Request, names: dict[str, str]) -> list[tuple[str, str, Request]]:
    """Return each part: kind, label, and a request of nothing else. `names`: filled with the tools of calls, by id."""
    out = [("system", f"system {n}", Request({}, "", [], [block])) for n, block in enumerate(request.system, 1)]
    for tool in request.tools:
        name = tool.get("name") or tool.get("type")
        out.append(("tool", str(name), Request({}, "", [], tools=[tool])))
    for number, message in enumerate(request.messages, 1):
        content = message["content"]
        if not isinstance(content, list):
            out.append(_turn(number, message, content))
            continue
        out += _split_content(number, message, content, names)
    return out


def _split_content(
    number: int, message: JSON, content: list[JSON], names: dict[str, str]
) -> list[tuple[str, str, Request]]:
    out, own = [], []
    for block in content:
        kind = block["type"]
        if kind == "tool_use":
            names[str(block["id"])] = str(block["name"])
        if kind == "tool_result":
            out.append(("result", f"result of {names.get(block['tool_use_id'], 'a tool')}", _only(message, block)))
        elif kind in ("image", "document"):
            out.append(("image", f"{kind} in message {number}", _only(message, block)))
        else:
            own.append(block)
    return [*([_turn(number, message, own)] if own or not out else []), *out]


def _turn(number: int, message: JSON, content: str | list[JSON]) -> tuple[str, str, Request]:
    return "turn", f"{message['role']}, message {number}", Request({}, "", [{**message, "content": content}])


def _only(message: JSON, block: JSON) -> Request:
    return Request({}, "", [{**message, "content": [block]}])
