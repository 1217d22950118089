"""Word an upstream's error for the client.

Claude Code acts on some sentences: it compacts the conversation, drops an image, or lowers `max_tokens`. So errors of
these kinds get exactly Anthropic's sentences, with the upstream's numbers. Errors of other kinds keep the upstream's
own words.

Example: vLLM's `This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.`
becomes `prompt is too long: 5000 tokens > 4096 maximum`.

Knows: the message, the status and the numbers of each kind. Must not know: which rule applies (verdict.py), single
wordings.
Invariants: numbers are the upstream's own, never invented; an error that is about the upstream names its address, and
says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from a2py.errors import ApiError, Blame
from a2py.wires.refusal.body import ErrorBody
from a2py.wires.refusal.peer import Peer
from a2py.wires.refusal.rule import Rule
from a2py.wires.refusal.scrub import shorten
from a2py.wires.refusal.topic import name_of
from a2py.wires.refusal.verdict import STATUSES

#: Tokens left for a reply that are worth another attempt. If fewer are left, and less than half of `max_tokens`, the
#: prompt is too long.
ROOM = 1024
#: An overflow whose numbers are unknown. Claude Code knows it by these words.
BARE_OVERFLOW = "prompt is too long"
#: Statuses that the client gets unchanged if no rule matched. Other known statuses become the status of their kind.
KEPT_STATUSES = frozenset({405, 408, 409, 425, 502, 504})
#: Kinds whose messages name the upstream, because the upstream is at fault and not the request.
_UPSTREAM_KINDS = frozenset(
    {
        "rate_limit",
        "overloaded",
        "api",
        "upstream",
        "timeout",
        "billing",
        "permission",
        "not_found",
        "content_policy",
    }
)
#: Kind → what to do if the upstream itself said nothing. Any other kind: DEFAULT_ADVICE.
_ADVICE = {
    "authentication": "Check the `api_key` of this model.",
    "permission": "Check what this account may use.",
    "rate_limit": "Wait, then try again.",
    "overloaded": "Wait, then try again.",
    "request_too_large": "Make the request smaller.",
}
#: Kinds of error that a wrong `api_base` causes.
_WRONG_ADDRESS = ("not_found", "method_not_allowed")
DEFAULT_ADVICE = "Try again. If it fails again, check the server's log."


class Case(NamedTuple):
    """An error to word.

    `status`: 0 inside a 200; `body`: what the upstream sent; `own`: the same without what it repeats of the request;
    `text`, `codes`: of `body`, with secrets removed; `rule`, `match`: what decided the kind, if anything did."""

    status: int
    body: ErrorBody
    own: ErrorBody
    text: str
    codes: str
    peer: Peer
    rule: Rule | None
    match: re.Match[str] | None

    def group(self, name: str) -> str:
        """Return what the rule's wording captured as `name`, "" if nothing."""
        return (self.match.groupdict().get(name) if self.match else None) or ""

    def number(self, name: str) -> int:
        """Return the number that the rule's wording captured as `name`, 0 if none."""
        return int(self.group(name).replace(",", "") or 0)


def word(kind: str, case: Case) -> ApiError:
    """Return the error of this kind."""
    return _WORDERS.get(kind, _keep_words)(kind, case)


def _status(kind: str, case: Case) -> int | None:
    """Return the upstream's own status if it means the same as the kind, None for the kind's status."""
    status = case.status
    is_unknown = status not in STATUSES and 400 <= status < 600
    if case.rule is None and (status in KEPT_STATUSES or is_unknown):
        return status
    if kind in ("invalid_request", "unsupported") and status == 422:
        return status
    if kind == "api" and 500 <= status < 600:
        return status
    return None


def _keep_words(kind: str, case: Case) -> ApiError:
    """Return an error with the upstream's own words. Its address goes first if the error is not about the request."""
    host = case.peer.host
    if case.body.is_html:
        message = f"{host} answered with a web page (HTTP {case.status}): {case.text}{_advice_in_brackets(kind, case)}"
    elif case.text:
        is_known = case.peer.address or case.peer.provider
        prefix = f"{host}: " if is_known and kind in _UPSTREAM_KINDS else ""
        message = f"{prefix}{case.text}{_advice_in_brackets(kind, case)}"
    else:
        codes = f" ({case.codes})" if case.codes else ""
        what = (
            f"answered HTTP {case.status} without saying why"
            if case.status
            else "reported an error without saying which"
        )
        advice = f"{_check_address(case)}." if kind in _WRONG_ADDRESS else _ADVICE.get(kind, DEFAULT_ADVICE)
        message = f"{host} {what}{codes}. {advice[0].upper()}{advice[1:]}"
    return _error(kind, message, case)


def _advice_in_brackets(kind: str, case: Case) -> str:
    """Return what to do about an address that the upstream does not know, as an addition to its own words."""
    return f" ({_check_address(case)})" if case.rule is None and kind in _WRONG_ADDRESS else ""


def _check_address(case: Case) -> str:
    """Return what to do about an address or a model that the upstream does not know."""
    better = case.peer.base_with_v1
    if better:
        return f"try `api_base: {better}`, and check the model's name"
    return "check `api_base` and the model's name"


def _error(kind: str, message: str, case: Case) -> ApiError:
    return ApiError(
        kind,
        shorten(message),
        status=_status(kind, case),
        field=_field(case),
        limit=case.number("limit"),
    )


def _field(case: Case) -> str:
    """Return the request field that the error is about, as wires/lessons.py looks it up.

    The rule names it, or the wording does. If the wording lists the accepted values, they follow:
    `reasoning_effort=low,high`."""
    if case.rule is None:
        return ""
    values = case.group("values") or case.group("more")
    if values:
        text = values.split(".")[0].lower()
        words = re.findall(r"[`'\"]([a-z]+)[`'\"]", text) or re.findall(r"[a-z]+", text)
        return f"{case.rule.field}={','.join(words)}"
    if case.rule.field == "param":
        return name_of(case.body.param)
    return case.rule.field or name_of(case.group("field") or case.group("f2") or case.group("f3"))


def _rate_limit(kind: str, case: Case) -> ApiError:
    """Return a rate limit.

    If the request alone exceeds it, waiting does not help, and other requests may still succeed."""
    error = _keep_words(kind, case)
    limit, used_tokens = case.number("limit"), case.number("used")
    error.limit = 0
    if limit and used_tokens > limit:
        error.should_retry = False
        error.blame = Blame.NONE
    return error


def _overflow(kind: str, case: Case) -> ApiError:
    """Return Anthropic's sentence with the numbers that are known.

    If the prompt alone fits and leaves enough room, it is the sentence about `max_tokens`. Then the request is sent
    again with what fits (`field="room"`)."""
    limit, total, out = case.number("limit"), case.number("total"), case.number("out")
    used_tokens = case.number("used") + case.number("tools")
    if case.rule and case.rule.least:
        return _overflow_of_unknown_size(kind, used_tokens, out, limit)
    if used_tokens and limit and used_tokens <= limit:
        if used_tokens + out > limit and (limit - used_tokens >= ROOM or 2 * (limit - used_tokens) >= out):
            message = f"input length and `max_tokens` exceed context limit: {used_tokens} + {out} > {limit}"
            return ApiError("max_tokens", message, field="room", limit=limit - used_tokens)
        used_tokens = 0  # the upstream's numbers show no overflow, so they would mislead
    else:
        used_tokens = used_tokens or total
    if limit and used_tokens > limit:
        return ApiError(kind, f"{BARE_OVERFLOW}: {used_tokens} tokens > {limit} maximum", limit=limit)
    return ApiError(kind, BARE_OVERFLOW, limit=limit)


def _overflow_of_unknown_size(kind: str, used_tokens: int, out: int, limit: int) -> ApiError:
    """Return the error for a prompt that is too long with the output, if the upstream did not count all of it.

    How much room is left is unknown, so the request is sent again with a quarter of the output, and so on while that is
    worth an attempt. After that the prompt is too long."""
    room = out // 4
    if room < ROOM:
        return ApiError(kind, BARE_OVERFLOW, limit=limit)
    message = BARE_OVERFLOW
    if used_tokens:
        message = f"input length and `max_tokens` exceed context limit: {used_tokens} + {out} > {limit}"
    return ApiError("max_tokens", message, field="room", limit=room)


def _output_limit(kind: str, case: Case) -> ApiError:
    """Return Anthropic's sentence if both numbers are known: Claude Code takes the limit from it."""
    limit, out = case.number("limit") or max(case.number("below") - 1, 0), case.number("out")
    if out > limit:
        model = case.peer.model or "this model"
        message = f"max_tokens: {out} > {limit}, which is the maximum allowed number of output tokens for {model}"
    else:
        message = f"max_tokens: {case.peer.host} accepts at most {limit} output tokens"
    return ApiError(kind, message, field="max_tokens", limit=limit)


def _key(kind: str, case: Case) -> ApiError:
    """Return an error without the upstream's text, because that repeats pieces of the key."""
    peer = case.peer.host_and_model
    status = f" (HTTP {case.status})" if case.status else ""
    if re.search(r"\b(?:no|missing|without)\b", case.own.line, re.IGNORECASE):
        message = (
            f"{peer} got no API key{status}. Set `api_key` of this model in the configuration, or the key variable of"
            " its provider."
        )
    else:
        message = (
            f"{peer} refused the API key{status}. The proxy sends this key, not the client: check `api_key` of this"
            " model in the configuration, or the key variable of its provider."
        )
    return ApiError(kind, message)


def _billing(kind: str, case: Case) -> ApiError:
    text = f": {case.text}" if case.text else ""
    message = f"the account at {case.peer.host} has no credit for this request{text} (add credit, or use another model)"
    return _error(kind, message, case)


class BlockWords(NamedTuple):
    """Anthropic's sentences about a block that a model cannot use.

    Claude Code removes the block and sends the request again."""

    unsupported: str
    too_large: str
    unreadable: str


_IMAGE = BlockWords(
    "Could not process image: this model takes no images",
    "image exceeds the maximum size",
    "Could not process image",
)
_DOCUMENT = BlockWords("This model does not support PDF input", "", "Could not process PDF")


def _block(words: BlockWords, kind: str, case: Case) -> ApiError:
    """Return Anthropic's sentence about an image or a document, with the upstream's own words in brackets."""
    name = case.rule.name if case.rule else ""
    if case.rule and case.rule.verbatim:
        return ApiError(kind, case.text)
    if name.endswith((".none", ".text_only")):
        sentence = words.unsupported
    else:
        sentence = words.too_large if name.endswith(".size") else words.unreadable
    text = f" ({case.text})" if case.text else ""
    return _error(kind, sentence + text, case)


def _image(kind: str, case: Case) -> ApiError:
    return _block(_IMAGE, kind, case)


def _document(kind: str, case: Case) -> ApiError:
    return _block(_DOCUMENT, kind, case)


_WORDERS: dict[str, Callable[[str, Case], ApiError]] = {
    "context_overflow": _overflow,
    "max_tokens": _output_limit,
    "rate_limit": _rate_limit,
    "authentication": _key,
    "billing": _billing,
    "image": _image,
    "document": _document,
}
