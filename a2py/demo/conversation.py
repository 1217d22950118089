"""A chat request as the demo model understands it: what was asked last, and what the tools answered.

Knows: OpenAI's chat messages, and what Claude Code puts around its user's words.
Must not know: how an answer is made or sent.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]

#: Claude Code's own words (2.1.330): reminders, what a command of its own printed, and the summary behind a compaction.
_AROUND = re.compile(
    r"<(system-reminder|local-command-\w+|command-\w+)>.*?</\1>"
    r"|This session is being continued from a previous conversation\b.*?(?:as if the break never happened\.|\Z)",
    re.DOTALL,
)
#: What an image is counted as; OpenAI's own figure for one high-detail tile.
IMAGE_TOKENS = 255


@dataclass(frozen=True)
class Result:
    """What a tool answered: its name, the arguments that it was called with (JSON text), its text."""

    name: str
    arguments: str
    text: str


@dataclass
class Conversation:
    """`ask`: the user's last words, without reminders; `asks`: all of them, oldest first; `results`: tool answers that follow `ask`;
    `images`: one description each of the last turn's; `system`: the leading instructions; `notice`: what came behind our last answer
    without a word of the user's (Claude Code: a background task has ended), then `ask` is empty."""

    ask: str = ""
    asks: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    system: str = ""
    notice: str = ""


def parts(content: Any) -> list[JSON]:
    """Message content as a list of parts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def text_of(content: Any) -> str:
    return "\n".join(str(part["text"]) for part in parts(content) if isinstance(part.get("text"), str))


def images_of(content: Any) -> list[JSON]:
    return [part for part in parts(content) if part.get("type") == "image_url"]


def describe_image(part: JSON) -> str:
    """What can be told of an image without eyes: media type, size in bytes, and a PNG's or GIF's width and height."""
    image = part.get("image_url")
    url = str(image.get("url", "") if isinstance(image, dict) else image or "")
    head, comma, data = url.partition(",")
    if not url.startswith("data:") or not comma:
        return "an image at a URL, which I do not fetch"
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return "an image whose base64 is broken"
    size = ""
    if raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) >= 24:
        size = " of {} × {} pixels".format(*struct.unpack(">II", raw[16:24]))
    elif raw[:3] == b"GIF" and len(raw) >= 10:
        size = " of {} × {} pixels".format(*struct.unpack("<HH", raw[6:10]))
    return f"an {head[5:].partition(';')[0]}{size} ({len(raw):,} bytes)"


def read(messages: list[JSON]) -> Conversation:
    """The conversation of a request that `check` has passed."""
    out = Conversation()
    calls: dict[str, tuple[str, str]] = {}
    answered = False  # our last turn was an answer, no call
    for message in messages:
        role, content = message["role"], message.get("content")
        if role in ("system", "developer"):
            out.system += ("\n" if out.system else "") + text_of(content)
        elif role == "assistant":
            for call in message.get("tool_calls") or ():
                calls[call["id"]] = (call["function"]["name"], call["function"]["arguments"])
        elif role == "tool":
            name, arguments = calls.get(message["tool_call_id"], ("tool", "{}"))
            out.results.append(Result(name, arguments, text_of(content)))
        else:
            words = _AROUND.sub("", text_of(content)).strip()
            images = [describe_image(part) for part in images_of(content)]
            if words:
                out.ask = words
                out.asks.append(words)
                out.results, out.images, out.notice = [], images, ""
            elif (answered or not out.asks) and not images:
                out.ask, out.results, out.notice = "", [], text_of(content)
            else:
                out.images = out.images + images
        if role == "assistant":
            answered = not message.get("tool_calls")
            if not answered:
                out.results = []
    return out
