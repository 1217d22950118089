"""A client's request to one of OpenAI's endpoints: what a2py must know of it, and the body for one upstream.

Knows: JSON and multipart bodies, the few fields that decide routing, limits and times. Must not know: deployments,
keys.
Invariants: a body for an upstream differs from the client's in the value of `model` alone; nothing is parsed that holds
more values than jsonsize allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages.count import BODY_BYTES
from a2py.slices import BYTES, Slices
from a2py.wires.passthrough.endpoints import Endpoint
from a2py.wires.passthrough.json_model import Member, find_model_in_slices, is_background_in_slices
from a2py.wires.passthrough.multipart import find_boundary, find_fields_in_slices
from a2py.wires.passthrough.session import read_opening

#: Output tokens that a request is taken to allow if it does not say.
NO_LIMIT = 1 << 30
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
#: Bytes in a row of base64 (either alphabet) that are an image or a sound: no text that a model reads.
MEDIA_BYTES = 1024
#: Every byte that base64 does not have becomes a blank.
_BLANKS = bytes(n if n < 128 and (chr(n).isalnum() or n in b"+/=_-") else 32 for n in range(256))
#: Tokens of an image or a sound, roughly (OpenAI's images and vision page: 765 for 1024 by 1024, 2026-10).
MEDIA_TOKENS = 765
JSON_TYPE = "application/json"
#: A content type that every server takes for JSON in UTF-8.
_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;\s*charset=\"?utf-?8\"?\s*)?", re.I)


class Question:
    """A request that names a model. `wants_stream`: it asks for one; `previous`: the `previous_response_id`;
    `max_tokens`: output that it allows; `estimate`: its input in tokens, roughly; `opening`: the texts by which its
    conversation is known; `content_type`: for the upstream;
    `is_background`: the upstream shall answer at once, and work later, or might read it so."""

    __slots__ = (
        "_body",
        "_member",
        "content_type",
        "estimate",
        "is_background",
        "max_tokens",
        "opening",
        "previous",
        "wants_stream",
    )

    def __init__(self, body: bytes, member: Member, content_type: str) -> None:
        self._body = body
        self._member = member
        self.content_type = content_type
        self.wants_stream = False
        self.is_background = False
        self.previous = ""
        self.max_tokens = 0
        self.estimate = 0
        self.opening: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        return self._member.value

    def body_for(self, model: str) -> bytes:
        """Return the body with `model` in the place of the client's name; the same bytes if it is the same name."""
        value, start, end = self._member
        if model == value:
            return self._body
        name = model.encode() if self.content_type.lower().startswith("multipart/") else orjson.dumps(model)
        return b"".join((self._body[:start], name, self._body[end:]))

    def forget(self) -> None:
        """Release the body. Nothing is asked again."""
        self._body = b""
        self.opening = ()


def parse_in_slices(raw: bytes, content_type: str, endpoint: Endpoint) -> Slices[Question]:
    """Return the request of `raw`. Raise `ApiError` if it does not clearly name one model."""
    content_type = content_type.strip()
    if content_type.lower().startswith("multipart/"):
        fields = yield from find_fields_in_slices(raw, find_boundary(content_type))
        question = Question(raw, fields.model, content_type)
        question.wants_stream = fields.others.get("stream", "").strip().lower() in ("true", "1")
        question.is_background = "background" in fields.others and endpoint.name == "responses"
        return question
    body = yield from _parse_json(raw)
    member = yield from find_model_in_slices(raw)
    question = Question(raw, member, content_type if _JSON_TYPE.fullmatch(content_type) else JSON_TYPE)
    question.wants_stream = body.get("stream") is True
    if endpoint.name == "responses":
        question.is_background = yield from is_background_in_slices(raw, body)
    previous = body.get("previous_response_id")
    question.previous = previous if isinstance(previous, str) else ""
    if endpoint.writes:
        question.max_tokens = _find_limit(body)
        question.opening = read_opening(body)
    question.estimate = yield from _estimate(raw)
    return question


def _parse_json(raw: bytes) -> Slices[dict[str, Any]]:
    if (yield from jsonsize.exceeds_in_slices(raw, jsonsize.VALUES_LIMIT)):
        raise ApiError("request_too_large", f"the body has more than {jsonsize.VALUES_LIMIT} values and names")
    try:
        body = yield from jsontext.loads_in_slices(raw)
    except ValueError as error:
        raise ApiError("invalid_request", f"the body {jsontext.explain(error)}", should_retry=False) from None
    if not isinstance(body, dict):
        raise ApiError("invalid_request", "the body must be a JSON object", should_retry=False)
    return body


def _find_limit(body: dict[str, Any]) -> int:
    for name in _LIMITS:
        value = body.get(name)
        if type(value) is int and value > 0:
            return value
    return NO_LIMIT


def _estimate(raw: bytes) -> Slices[int]:
    """Return the input tokens of a JSON body, roughly: by its bytes, without those of images and sounds."""
    size = media = 0
    for at in range(0, len(raw), BYTES):
        piece = raw[at : at + BYTES]
        size += len(piece)
        for start, end in find_media(piece):
            size -= end - start
            media += at == 0 or start > 0  # one that goes on in the next piece is still one
        if at + BYTES < len(raw):
            yield
    return int(size / BODY_BYTES) + MEDIA_TOKENS * media + 1


def find_media(piece: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of at least MEDIA_BYTES bytes of base64.

    A pattern would try each byte of a shorter run again: 1.3 s for a megabyte of runs of 1,023. Here the last blank
    among the next MEDIA_BYTES is searched. If there is one, no run begins before it, so no byte is looked at more than
    twice."""
    plain = piece.translate(_BLANKS)
    at = 0
    while at + MEDIA_BYTES <= len(plain):
        blank = plain.rfind(b" ", at, at + MEDIA_BYTES)
        if blank >= 0:
            at = blank + 1
            continue
        end = plain.find(b" ", at + MEDIA_BYTES)
        end = end if end >= 0 else len(plain)
        yield at, end
        at = end + 1
