"""The forms of an error body → its sentences, codes and hints.

Knows: OpenAI's object, Gemini's array around it, FastAPI's `detail` list, problem+json, OpenRouter's `metadata.raw`, a bare string, an event
stream, HTML, JSON that was cut. Must not know: what a sentence means.
Invariants: raises on nothing; looks at the first LOOK bytes; keeps at most SENTENCES sentences of LONG characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import unescape
from typing import Any

from a2py import jsontext

#: Bytes of a body that are looked at (64 KiB).
LOOK = 64 * 1024
#: Characters kept of one sentence; the client gets at most 2,000.
LONG = 4000
SENTENCES = 6
#: Characters that the rules look at, and of a web page without a title.
LINE = 4000
PAGE = 4000
CODES = 12
#: Nesting that is followed: a relay's error in a relay's error in a relay's error.
DEPTH = 8
#: Items of a list that are read.
ITEMS = 8

#: Keys of an object that hold sentences, or objects with more of them; in this order.
_INSIDE = (
    "message",
    "error_message",
    "errorMessage",
    "error_msg",
    "msg",
    "status_msg",
    "description",
    "error_description",
    "error",
    "errors",
    "detail",
    "details",
    "response",
    "base_resp",
    "innererror",
    "metadata",
    "raw",
)
_CODES = ("code", "type", "status", "error_code", "error_type", "errorCode", "reason")
_STATUSES = ("status_code", "status", "http_code", "code")
#: A string of JSON text (whole if the group is a quote), a bracket, comma or colon, or a number or word.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*("?)|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
#: An escape that was cut. A backslash alone is no part of a token.
_CUT_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u[0-9a-fA-F]{0,3}\Z")
_SENTENCE = re.compile(r'"(?:message|msg|detail|error)"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)
_TITLE = re.compile(r"<title[^>]{0,200}>(.{0,400}?)</title", re.IGNORECASE | re.DOTALL)
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>?", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class Found:
    """`status`: an HTTP status that the body itself names, else 0; `delay`: a waiting time in its words; `reset`: OpenRouter's x-ratelimit-reset."""

    sentences: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    param: str = ""
    status: int = 0
    delay: str = ""
    reset: str = ""
    html: bool = False

    @property
    def text(self) -> str:
        return ": ".join(self.sentences)

    @property
    def line(self) -> str:
        """The text as the rules see it: single spaces, bounded."""
        return " ".join(self.text[:LINE].split())

    def heard(self, read: Callable[[str], str]) -> Found:
        """The same with each sentence as `read` returns it."""
        return replace(self, sentences=[read(sentence) for sentence in self.sentences])

    def say(self, text: str) -> None:
        """Keep a sentence, unless another says the same."""
        text = text.strip()[:LONG]
        if text and len(self.sentences) < SENTENCES and not any(text in said for said in self.sentences):
            self.sentences = [said for said in self.sentences if said not in text]
            self.sentences.append(text)


def unfold(body: bytes) -> Found:
    """What a body says."""
    found = Found()
    raw = body[:LOOK]
    try:
        _walk(jsontext.loads(raw), found, 0)
    except ValueError:
        _rescue(raw.decode("utf-8", "replace").strip().lstrip("\ufeff"), found)
    return found


def unfold_value(value: Any) -> Found:
    """What an error that came as JSON in another body says."""
    found = Found()
    _walk(value, found, 0)
    return found


def _walk(value: Any, found: Found, depth: int) -> None:
    if depth > DEPTH:
        return
    if isinstance(value, str):
        _string(value, found, depth)
    elif isinstance(value, list):
        for item in value[:ITEMS]:
            _walk(item, found, depth + 1)
    elif isinstance(value, dict):
        _object(value, found, depth)


def _string(text: str, found: Found, depth: int) -> None:
    """A sentence, or JSON as a string."""
    text = text.strip()
    if text[:1] in ("{", "["):
        try:
            _walk(jsontext.loads(text[:LOOK].encode("utf-8", "replace")), found, depth + 1)
            return
        except ValueError:
            pass
    found.say(text)


def _object(value: dict[str, Any], found: Found, depth: int) -> None:
    for key in _STATUSES:
        number = value.get(key)
        if isinstance(number, str) and re.fullmatch(r"[45]\d\d", number):
            number = int(number)
        if isinstance(number, int) and 400 <= number < 600 and not found.status:
            found.status = number
    for key in _CODES:
        code = value.get(key)
        if isinstance(code, (str, int)) and not isinstance(code, bool) and code != "" and len(found.codes) < CODES:
            found.codes.append(str(code)[:100])
    param = value.get("param")
    if isinstance(param, str):
        if " " in param:  # Xiaomi MiMo and relays put the sentence there, 2026-05
            found.say(param)
        elif not found.param:
            found.param = param[:200]
    if isinstance(value.get("retryDelay"), str):
        found.delay = value["retryDelay"][:40]
    headers = value.get("headers")
    if isinstance(headers, dict):
        found.reset = next((str(v)[:40] for k, v in headers.items() if k.lower() == "x-ratelimit-reset"), "")
    place = value.get("loc")
    if isinstance(place, list) and isinstance(value.get("msg"), str):
        _invalid(place, value["msg"], found)
        return
    for key in _INSIDE:
        if value.get(key):
            _walk(value[key], found, depth + 1)
    if not found.sentences and isinstance(value.get("title"), str):
        found.say(value["title"])


def _invalid(place: list[Any], message: str, found: Found) -> None:
    """One finding of pydantic: its place without `body`, and what is wrong there. The input that it repeats is not read."""
    path = ".".join(str(part) for part in place[:12] if part != "body")
    found.param = found.param or path[:200]
    found.say(f"{path}: {message}" if path else message)


def _rescue(text: str, found: Found) -> None:
    """A body that is no JSON."""
    for line in text.splitlines()[:50]:
        if line.lstrip().startswith("data:"):
            try:
                _walk(jsontext.loads(line.partition("data:")[2].encode()), found, 0)
                return
            except ValueError:
                continue
    if text[:1] == "<":
        found.html = True
        title = _TITLE.search(text)
        found.say(" ".join(unescape(title[1] if title else _TAGS.sub(" ", text[:PAGE])).split())[:300])
    elif text[:1] in ("{", "[", '"'):
        try:
            _walk(jsontext.loads(_completed(text).encode("utf-8", "replace")), found, 0)
        except ValueError:
            _broken(text, found)
    else:
        found.say(text)


def _completed(text: str) -> str:
    """JSON that was cut, with what closes it; what follows the first document is left out.

    `{"error": {"message": "too lo` becomes `{"error": {"message": "too lo"}}`. So a cut body is read like a whole one, and what a client wrote
    is not taken for a code because it stands somewhere in the body."""
    closing: list[str] = []
    key = False  # the next string is a name in an object
    safe = 0  # what comes before is complete, but for the brackets that are open
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            closing.append("}" if token == "{" else "]")
            key, safe = token == "{", match.end()
        elif token in "}]":
            closing.pop()
            key, safe = False, match.end()
        elif token == ",":
            key, safe = closing[-1:] == ["}"], match.start()
        elif token == ":":
            key = False
        elif token[0] == '"' and not key:
            if not match[1]:
                return _CUT_ESCAPE.sub(r"\1", text[: match.end()]) + '"' + "".join(reversed(closing))
            safe = match.end()
        if not closing:
            break
    return text[:safe] + "".join(reversed(closing))


def _broken(text: str, found: Found) -> None:
    """Something like JSON (Python's notation, a comma too many): its sentences as far as they can be told, and nothing structured."""
    for value in _SENTENCE.findall(text):
        found.say(value.replace('\\"', '"').replace("\\n", " ").replace("\\\\", "\\"))
    if not found.sentences:
        found.say(text)
