r"""Parse the body of an error in any of its forms.

Examples of one sentence in six forms:

    {"error": {"message": "Bad key", "code": 401}}                    OpenAI
    [{"error": {"message": "Bad key", "status": "UNAUTHENTICATED"}}]  Gemini
    {"detail": [{"loc": ["body", "model"], "msg": "Bad key"}]}        FastAPI
    {"error": {"metadata": {"raw": "{\"error\": \"Bad key\"}"}}}      OpenRouter, with its upstream's body
    <html><title>Bad key</title>                                      a proxy
    {"error": {"message": "Bad key                                    JSON that was cut

Knows: these forms, problem+json, a bare string, an event stream. Must not know: what a sentence means.
Invariants: raises on nothing; reads the first LOOK bytes; keeps at most SENTENCES sentences of LONG characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import unescape
from typing import Any

from a2py import jsontext

#: Bytes of a body that are read (64 KiB).
LOOK = 64 * 1024
#: Characters kept of one sentence. The client gets at most 2,000.
LONG = 4000
SENTENCES = 6
#: Characters that the rules read, and characters of a web page without a title.
LINE = 4000
PAGE = 4000
CODES = 12
#: Levels of nesting that are read: a gateway's error may hold a gateway's error that holds a gateway's error.
DEPTH = 8
#: Items of a list that are read.
ITEMS = 8

#: Keys of an object that hold sentences, or objects with more of them, in the order in which they are read.
_TEXT_KEYS = (
    "message",
    "Message",
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
#: Names of objects in which a gateway keeps the error that it got itself.
_CAUSE = re.compile("error|cause|upstream|inner|origin|provider|exception", re.IGNORECASE)
#: Names of members that repeat the request.
_SENT_KEYS = {
    *("input", "inputs", "request", "request_body", "messages", "prompt", "params", "parameters", "payload", "args"),
    *("arguments", "query", "headers", "tools", "ctx", "instance", "stack"),
}
_CODE_KEYS = ("code", "type", "status", "error_code", "error_type", "errorCode", "reason")
#: Members that say how long to wait, in seconds, and in milliseconds.
_WAIT_KEYS = (
    "retry_after",
    "retry-after",
    "retryAfter",
    "retry_after_seconds",
    "retryAfterSeconds",
    "reset_seconds",
    "resets_in_seconds",
    "reset_after",
    "reset_after_seconds",
    "reset_in_seconds",
    "reset_time",
)
_WAIT_KEYS_MS = ("retry_after_ms", "retryAfterMs", "reset_ms")
_STATUS_KEYS = ("status_code", "status", "http_code", "code")
#: A string of JSON text (complete if the group is a quote), a bracket, comma or colon, or a number or word.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*("?)|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
#: A `\uXXXX` escape that was cut, after an even number of backslashes. A single backslash at the end is not part of a
#: token.
_CUT_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u[0-9a-fA-F]{0,3}\Z")
_SENTENCE = re.compile(r'"(?:message|msg|detail|error)"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)
_TITLE = re.compile(r"<title[^>]{0,200}>(.{0,400}?)</title", re.IGNORECASE | re.DOTALL)
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>?", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class ErrorBody:
    """What an error body says.

    `param`: the request field that it names; `status`: an HTTP status in the body itself, else 0; `delay`: Gemini's
    retryDelay, such as "7s"; `reset`: OpenRouter's x-ratelimit-reset; `is_html`: a web page."""

    sentences: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    param: str = ""
    status: int = 0
    delay: str = ""
    reset: str = ""
    is_html: bool = False

    @property
    def text(self) -> str:
        """All sentences."""
        return ": ".join(self.sentences)

    @property
    def line(self) -> str:
        """The text as rules see it: single spaces, at most LINE characters."""
        return " ".join(self.text[:LINE].split())

    def with_sentences(self, change: Callable[[str], str]) -> ErrorBody:
        """Return a copy in which each sentence is what `change` returns for it."""
        return replace(self, sentences=[change(sentence) for sentence in self.sentences])

    def add_sentence(self, text: str) -> None:
        """Keep a sentence, unless it is part of one that is kept. Drop those that are part of it."""
        text = text.strip()[:LONG]
        if text and len(self.sentences) < SENTENCES and not any(text in sentence for sentence in self.sentences):
            self.sentences = [sentence for sentence in self.sentences if sentence not in text]
            self.sentences.append(text)


def parse_body(data: bytes) -> ErrorBody:
    """Parse the bytes of a body."""
    body = ErrorBody()
    raw = data[:LOOK]
    try:
        _walk(jsontext.loads(raw), body, 0)
    except ValueError:
        _read_other(raw.decode("utf-8", "replace").strip().lstrip("\ufeff"), body)
    return body


def parse_value(value: Any) -> ErrorBody:
    """Parse an error that was JSON inside another body."""
    body = ErrorBody()
    _walk(value, body, 0)
    return body


def _walk(value: Any, body: ErrorBody, depth: int) -> None:
    if depth > DEPTH:
        return
    if isinstance(value, str):
        _read_string(value, body, depth)
    elif isinstance(value, list):
        for item in value[:ITEMS]:
            _walk(item, body, depth + 1)
    elif isinstance(value, dict):
        _read_object(value, body, depth)


def _read_string(text: str, body: ErrorBody, depth: int) -> None:
    """Read a sentence, or JSON inside a string."""
    text = text.strip()
    if text[:1] in ("{", "["):
        try:
            _walk(jsontext.loads(text[:LOOK].encode("utf-8", "replace")), body, depth + 1)
            return
        except ValueError:
            pass
    body.add_sentence(text)


def _read_object(value: dict[str, Any], body: ErrorBody, depth: int) -> None:
    body.status = body.status or _status_in(value)
    _read_codes(value, body)
    _read_param(value, body)
    _read_waiting_times(value, body)
    location = value.get("loc")
    if isinstance(location, list) and isinstance(value.get("msg"), str):
        _read_validation_error(location, value["msg"], body)
        return
    for key in _TEXT_KEYS:
        if value.get(key):
            _walk(value[key], body, depth + 1)
    _read_causes(value, body, depth)
    if not body.sentences and isinstance(
        value.get("title"), str
    ):  # problem+json: "title" is less specific than "detail"
        body.add_sentence(value["title"])


def _read_causes(value: dict[str, Any], body: ErrorBody, depth: int) -> None:
    """Read the members that no table names: those that hold the error of another server, and any object while nothing
    was said yet.

    Example: `{"error": {"type": "request_fail", "upstream_error": {"error": {"message": "Bad key"}}}}`."""
    for key, inner in value.items():
        if key in _TEXT_KEYS or key in _CODE_KEYS or key.lower() in _SENT_KEYS:
            continue
        is_cause = _CAUSE.search(key) is not None
        if isinstance(inner, str):
            text = inner.strip()
            is_wanted = text[:1] == "{" or (is_cause and " " in text)
        else:
            is_wanted = isinstance(inner, (dict, list))
        if is_wanted and (is_cause or not body.sentences):
            _walk(inner, body, depth + 1)


def _status_in(value: dict[str, Any]) -> int:
    """Return the HTTP error status that an object names, 0 if none."""
    for key in _STATUS_KEYS:
        number = value.get(key)
        if isinstance(number, str) and re.fullmatch(r"[45]\d\d", number):
            number = int(number)
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return 0


def _read_codes(value: dict[str, Any], body: ErrorBody) -> None:
    for key in _CODE_KEYS:
        code = value.get(key)
        if isinstance(code, (str, int)) and not isinstance(code, bool) and code != "" and len(body.codes) < CODES:
            body.codes.append(str(code)[:100])


def _read_param(value: dict[str, Any], body: ErrorBody) -> None:
    param = value.get("param")
    if not isinstance(param, str):
        return
    if " " in param:  # Xiaomi MiMo and relays write the sentence there, 2026-05
        body.add_sentence(param)
    elif not body.param:
        body.param = param[:200]


def _read_waiting_times(value: dict[str, Any], body: ErrorBody) -> None:
    if isinstance(value.get("retryDelay"), str):
        body.delay = value["retryDelay"][:40]
    body.delay = body.delay or _wait_in(value)
    headers = value.get("headers")
    if isinstance(headers, dict):
        resets = (str(v)[:40] for k, v in headers.items() if k.lower() == "x-ratelimit-reset")
        body.reset = body.reset or next(resets, "")


def _wait_in(value: dict[str, Any]) -> str:
    """Return the wait that an object names, as a length of time: `"retry_after": 30` → `30.000s`; "" if none."""
    for keys, unit in ((_WAIT_KEYS_MS, "ms"), (_WAIT_KEYS, "s")):
        for key in keys:
            wait = value.get(key)
            if isinstance(wait, str) and re.fullmatch(r"\d{1,8}(?:\.\d{1,6})?", wait):
                wait = float(wait)
            if isinstance(wait, str) and wait[:1].isdigit():
                return wait[:40]
            if isinstance(wait, (int, float)) and not isinstance(wait, bool) and wait >= 0:
                return f"{min(wait, 99_999_999):.3f}{unit}"
    return ""


def _read_validation_error(location: list[Any], message: str, body: ErrorBody) -> None:
    """Read one error of pydantic: its location without `body`, and the message.

    Its `input` repeats the request and is not read."""
    path = ".".join(str(part) for part in location[:12] if part != "body")
    body.param = body.param or path[:200]
    body.add_sentence(f"{path}: {message}" if path else message)


def _read_other(text: str, body: ErrorBody) -> None:
    """Read a body that is not JSON, or more than one document: JSON that an event stream follows counts before it."""
    if text[:1] == "<":
        body.is_html = True
        title = _TITLE.search(text)
        body.add_sentence(" ".join(unescape(title[1] if title else _TAGS.sub(" ", text[:PAGE])).split())[:300])
    elif text[:1] in ("{", "[", '"'):
        try:
            _walk(jsontext.loads(_complete(text).encode("utf-8", "replace")), body, 0)
        except ValueError:
            _read_broken(text, body)
        if not body.sentences:
            _read_events(text, body)
    elif not _read_events(text, body):
        body.add_sentence(text)


def _read_events(text: str, body: ErrorBody) -> bool:
    """Read the first event of a stream that holds JSON. Return whether there is one."""
    for line in text.splitlines()[:50]:
        start = line.find("data:")
        if start >= 0 and (start == 0 or not line[:start].strip() or line[start - 1] in "}]"):
            try:
                _walk(jsontext.loads(line[start + 5 :].encode("utf-8", "replace")), body, 0)
                return True
            except ValueError:
                continue
    return False


def _complete(text: str) -> str:
    """Return JSON that was cut, with its brackets closed. What follows the first document is removed.

    Example: `{"error": {"message": "too lo` becomes `{"error": {"message": "too lo"}}`. So a cut body is read like a
    complete one. A search for `"code": "…"` in the raw text would find codes that the client wrote, because errors
    repeat the request.

    The text is read token by token. A string value that was cut is kept; any other unfinished pair or item is removed,
    by cutting at `safe`, the end of the last complete one."""
    closing: list[str] = []  # brackets that close those that are open
    is_key = False  # the next string is a key
    safe = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            closing.append("}" if token == "{" else "]")
            is_key, safe = token == "{", match.end()
        elif token in "}]":
            closing.pop()
            is_key, safe = False, match.end()
        elif token == ",":
            is_key, safe = closing[-1:] == ["}"], match.start()
        elif token == ":":
            is_key = False
        elif token[0] == '"' and not is_key:
            if not match[1]:
                return _CUT_ESCAPE.sub(r"\1", text[: match.end()]) + '"' + "".join(reversed(closing))
            safe = match.end()
        if not closing:
            break
    return text[:safe] + "".join(reversed(closing))


def _read_broken(text: str, body: ErrorBody) -> None:
    """Read text that only resembles JSON (Python's notation, an extra comma).

    Its sentences are kept if they can be found. Codes are not: the client's text may contain something like a code."""
    for value in _SENTENCE.findall(text):
        body.add_sentence(value.replace('\\"', '"').replace("\\n", " ").replace("\\\\", "\\"))
    if not body.sentences:
        body.add_sentence(text)
