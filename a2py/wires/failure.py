"""An upstream's error, in whatever form it came → `ApiError` in Anthropic's words.

Knows: which rule of `refusal/` speaks for an answer, what a bare status means, and how each kind is worded to the client.
Must not know: single wordings (refusal/wordings.py, refusal/fields.py), what a lesson changes (lessons.py), sockets.
Invariants: raises on no input; no message holds a key, an account's id, a URL query or a stack; what Claude Code reads a meaning into is
said only where it is meant; numbers are the upstream's own, never invented.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from a2py.errors import ApiError, Blame
from a2py.messages.sent import NOTHING, Sent
from a2py.wires.refusal import waiting
from a2py.wires.refusal.body import Found, unfold, unfold_value
from a2py.wires.refusal.rule import Rule
from a2py.wires.refusal.scrub import defuse, scrub, shorten
from a2py.wires.refusal.topic import name_of
from a2py.wires.refusal.verdict import STATUSES, find, kind_of_status

#: Tokens of room for a reply that are worth asking once more for; below, and below half of what was asked, the prompt is too long.
ROOM = 1024
#: `field` of an error that holds for this one prompt, this conversation, or the credit left, not for the model: nothing to remember.
PASSING = frozenset({"room", "credit", "messages.thinking"})

#: These go on as they came, the others as their kind's own status.
KEPT = frozenset({405, 408, 409, 425, 502, 504})
#: MiniMax `base_resp.status_code` → HTTP status (its error-code page, 2026-05); the rest is 400.
BASE_RESP = {
    1000: 500,
    1001: 504,
    1002: 429,
    1004: 401,
    1008: 402,
    1013: 500,
    1024: 500,
    1033: 500,
    1039: 429,
    1041: 429,
    2049: 401,
    2056: 429,
    2061: 403,
}
#: `code` values of a body that is no error.
_FINE = frozenset({0, 200, 20000, "0", "200", "ok", "OK", "Success", "success"})

#: Kinds that no other attempt and no other time changes.
_FINAL = frozenset({"authentication", "billing", "permission"})
#: Kinds whose message names the upstream, because it is the upstream's own affair.
_THEIRS = frozenset(
    {"rate_limit", "overloaded", "api", "upstream", "timeout", "billing", "permission", "not_found", "content_policy"}
)


class _Case(NamedTuple):
    """What is known while an error is worded. `status`: 0 inside a 200."""

    status: int
    found: Found
    heard: Found  # without what it repeats of the request
    text: str
    codes: str
    provider: str
    model: str
    rule: Rule | None
    match: re.Match[str] | None

    @property
    def who(self) -> str:
        return self.provider or "the upstream"

    def tells(self, name: str) -> str:
        """What the wording gives for `name`; "": nothing."""
        return (self.match.groupdict().get(name) if self.match else None) or ""

    def number(self, name: str) -> int:
        """The number that the wording gives for `name`; 0: none."""
        return int(self.tells(name).replace(",", "") or 0)


def read(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str = "",
    model: str = "",
    secrets: Iterable[str] = (),
    sent: Sent = NOTHING,
) -> ApiError:
    """Return the error that an answer with a status outside of 2xx means.

    `body`: as far as it was read; `secrets`: strings that no message may repeat (the key that was sent); `sent`: the request's body, which
    the upstream's text may repeat."""
    lower = {name.lower(): value for name, value in headers.items()}
    error, heard = _judge(status, unfold(body), provider, model, secrets, sent, empty=not body.strip())
    if error.retryable and error.should_retry is not False:
        error.retry_after = waiting.seconds(lower, heard)
    told = lower.get("x-should-retry")
    if error.should_retry is None and told in ("true", "false"):
        error.should_retry = told == "true"
    return error


def inside(
    payload: dict[str, Any], *, provider: str = "", model: str = "", secrets: Iterable[str] = (), sent: Sent = NOTHING
) -> ApiError | None:
    """The error in a body, chunk or event of an answer whose status was 200; None where it holds none."""
    if not payload.get("error"):
        base = payload.get("base_resp")
        if isinstance(base, dict) and base.get("status_code"):
            return _base_resp(base, provider, model, secrets, sent)
        if payload.get("choices") or not _blames(payload):
            return None
    return event(payload, provider=provider, model=model, secrets=secrets, sent=sent)


def event(
    payload: dict[str, Any] | bytes,
    *,
    provider: str = "",
    model: str = "",
    secrets: Iterable[str] = (),
    sent: Sent = NOTHING,
) -> ApiError:
    """An error for certain, inside an answer whose status was 200: an event of that name, whatever it holds."""
    found = unfold(payload) if isinstance(payload, bytes) else unfold_value(payload)
    error, heard = _judge(found.status, found, provider, model, secrets, sent)
    if found.status >= 500 and error.kind in ("api", "upstream", "timeout"):
        error = ApiError("overloaded", error.message)
    if error.retryable:
        error.retry_after = waiting.seconds({}, heard)
    return error


def page(body: bytes, provider: str = "") -> ApiError:
    """A web page with status 200: `api_base` leads to a site, or a portal stands in between."""
    title = defuse(scrub(unfold(body).text), "upstream")
    return ApiError(
        "upstream", shorten(f"{provider or 'the upstream'} answered with a web page: {title} (check `api_base`)")
    )


def _blames(payload: dict[str, Any]) -> bool:
    """Forms of an error without `error`."""
    if payload.get("type") in ("error", "response.failed", "response.error") or payload.get("object") == "error":
        return True
    if payload.get("detail") or payload.get("success") is False:
        return True
    code = payload.get("code")
    return (
        isinstance(code, (str, int))
        and bool(code)
        and code not in _FINE
        and bool(payload.get("message") or payload.get("msg"))
    )


def _base_resp(base: dict[str, Any], provider: str, model: str, secrets: Iterable[str], sent: Sent) -> ApiError:
    code = base["status_code"]
    status = BASE_RESP.get(code, 400) if isinstance(code, int) else 400
    return _judge(status, unfold_value(base.get("status_msg")), provider, model, secrets, sent)[0]


#: Kind of transport failure → error kind, sentence.
_TRANSPORT: dict[str, tuple[str, str]] = {
    "connect": (
        "upstream",
        "can't connect to {who}: {detail}. Check that the server runs and that `api_base` is right.",
    ),
    "proxy": (
        "upstream",
        "can't reach {who} by the environment's proxy: {detail}. Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.",
    ),
    "dns": ("upstream", "can't find the host of {who}: {detail}. Check `api_base` and the network."),
    "tls": (
        "upstream",
        "no secure connection to {who}: {detail}. Check the certificate, or set `ssl_verify` to the CA file.",
    ),
    "timeout_connect": (
        "timeout",
        "{who} did not accept a connection in time: {detail}. Check that the server runs and that `api_base` is right.",
    ),
    "timeout_first_byte": (
        "timeout",
        "{who} did not begin to answer in time: {detail}. A larger `timeout` allows it more.",
    ),
    "timeout_idle": (
        "timeout",
        "{who} stopped sending in mid-answer: {detail}. A larger `stream_timeout` allows it more.",
    ),
    "timeout_contentless": (
        "timeout",
        "{who} sent signs of life but no content: {detail}. A larger `timeout` allows it more.",
    ),
    "timeout_total": (
        "timeout",
        "{who} did not finish its answer in time: {detail}. A larger `timeout` allows it more.",
    ),
    "broken": ("upstream", "{who} sent an answer that can't be read: {detail}."),
    "cut": ("upstream", "upstream closed the stream early ({who}): {detail}."),
}


def transport(kind: str, detail: str, provider: str) -> ApiError:
    """A connection that failed. `kind`: a key of the table above, any other is told as `connect`; `detail`: the cause in a few words."""
    name, sentence = _TRANSPORT.get(kind, _TRANSPORT["connect"])
    said = scrub(detail).rstrip(". ") or "no further cause is known"
    message = shorten(defuse(sentence.format(who=provider or "the upstream", detail=said), name))
    return ApiError(name, message, should_retry=False if kind == "tls" else None)


def _judge(
    status: int, found: Found, provider: str, model: str, secrets: Iterable[str], sent: Sent, empty: bool = False
) -> tuple[ApiError, Found]:
    """Return the error, and what was heard of `found`: its text without what it repeats of the request."""
    rule, match, heard, blame, echoed = find(status, found, provider, sent)
    kind = rule.kind if rule else kind_of_status(status)
    if empty and provider == "cerebras" and status in (400, 413):
        kind = "context_overflow"  # Cerebras answers an overflow with an empty body (other clients' pattern lists, 2026-11)
    if status >= 500 and kind == "invalid_request":
        kind = "api"
    text = defuse(scrub(found.text, secrets), kind)
    codes = defuse(scrub(", ".join(found.codes), secrets), kind)
    case = _Case(status, found, heard, text, codes, provider, model, rule, match)
    error = _WORDED.get(kind, _plain)(kind, case)
    error.echoed = echoed
    if error.blame is Blame.KIND:
        error.blame = blame
    if rule and rule.should_retry is not None:
        error.should_retry = rule.should_retry
    elif kind in _FINAL:
        error.should_retry = False
    return error, heard


def _status(kind: str, case: _Case) -> int | None:
    """The upstream's own status where it says the same as the kind; None: the kind's."""
    status = case.status
    if case.rule is None and (status in KEPT or (status not in STATUSES and 400 <= status < 600)):
        return status
    if kind in ("invalid_request", "unsupported") and status == 422:
        return status
    if kind == "api" and 500 <= status < 600:
        return status
    return None


# -- how each kind is worded ---------------------------------------------------------------------------------------------


def _plain(kind: str, case: _Case) -> ApiError:
    """The upstream's own words; whose they are, where it is not about the request."""
    said, name = case.text, f"{case.provider}: " if case.provider and kind in _THEIRS else ""
    if case.found.html:
        said, name = f"answered with a web page (HTTP {case.status}): {said}", f"{case.who} "
    elif not said:
        codes = f" ({case.codes})" if case.codes else ""
        said = (
            f"answered HTTP {case.status} without saying why"
            if case.status
            else "reported an error without saying which"
        )
        said, name = said + codes, f"{case.who} "
    return _error(kind, f"{name}{said}{_cure(kind, case)}", case)


def _cure(kind: str, case: _Case) -> str:
    """What to do about an address that the upstream does not know."""
    if case.rule is None and kind in ("not_found", "method_not_allowed"):
        return " (check `api_base` and the model's name)"
    return ""


def _error(kind: str, message: str, case: _Case) -> ApiError:
    return ApiError(kind, shorten(message), status=_status(kind, case), field=_field(case), limit=case.number("limit"))


def _field(case: _Case) -> str:
    """The request field that the rule names, or that the wording does."""
    if case.rule is None:
        return ""
    values = case.tells("values") or case.tells("more")
    if values:
        told = values.split(".")[0].lower()
        words = re.findall(r"[`'\"]([a-z]+)[`'\"]", told) or re.findall(r"[a-z]+", told)
        return f"{case.rule.field}={','.join(words)}"
    if case.rule.field == "param":
        return name_of(case.found.param)
    return case.rule.field or name_of(case.tells("field") or case.tells("f2") or case.tells("f3"))


def _size(kind: str, case: _Case) -> ApiError:
    """A rate limit. One that the request alone exceeds is never met by waiting, and says nothing about other requests."""
    error = _plain(kind, case)
    limit, used = case.number("limit"), case.number("used")
    error.limit = 0
    if limit and used > limit:
        error.should_retry = False
        error.blame = Blame.NONE
    return error


def _overflow(kind: str, case: _Case) -> ApiError:
    """Anthropic's sentence, with the numbers that are known; where the prompt alone fits, the sentence about `max_tokens`."""
    limit, total, out = case.number("limit"), case.number("total"), case.number("out")
    used = case.number("used") + case.number("tools")
    if case.rule and case.rule.least:
        return _uncounted(kind, used, out, limit)
    if used and limit and used <= limit:
        if used + out > limit and (limit - used >= ROOM or 2 * (limit - used) >= out):
            message = f"input length and `max_tokens` exceed context limit: {used} + {out} > {limit}"
            return ApiError("max_tokens", message, field="room", limit=limit - used)
        used = 0
    else:
        used = used or total
    if limit and used > limit:
        return ApiError(kind, f"prompt is too long: {used} tokens > {limit} maximum", limit=limit)
    return ApiError(kind, "prompt is too long", limit=limit)


def _uncounted(kind: str, used: int, out: int, limit: int) -> ApiError:
    """Prompt and output do not fit together, and how long the prompt is remains unknown: it is asked again with a quarter of the output,
    as long as that is room worth having; after that numbers would mislead."""
    room = out // 4
    if room < ROOM:
        return ApiError(kind, "prompt is too long", limit=limit)
    message = (
        f"input length and `max_tokens` exceed context limit: {used} + {out} > {limit}"
        if used
        else "prompt is too long"
    )
    return ApiError("max_tokens", message, field="room", limit=room)


def _cap(kind: str, case: _Case) -> ApiError:
    """Anthropic's sentence where both numbers are known: Claude Code takes the limit from it."""
    limit, out = case.number("limit") or case.number("below") - 1, case.number("out")
    if out > limit:
        model = case.model or "this model"
        message = f"max_tokens: {out} > {limit}, which is the maximum allowed number of output tokens for {model}"
    else:
        message = f"max_tokens: the upstream takes at most {limit} output tokens"
    return ApiError(kind, message, field="max_tokens", limit=limit)


def _key(kind: str, case: _Case) -> ApiError:
    """Nothing of the upstream's text: it repeats pieces of the key."""
    status = f" (HTTP {case.status})" if case.status else ""
    if re.search(r"\b(?:no|missing|without)\b", case.heard.line, re.IGNORECASE):
        said = f"{case.who} was asked without an API key{status}. Set `api_key` of this model in the configuration, or the provider's key variable."
    else:
        said = (
            f"{case.who} refused the API key{status}. That is the key which the proxy sends there, not the client's own: check `api_key` of"
            " this model in the configuration, or the provider's key variable."
        )
    return ApiError(kind, said)


def _billing(kind: str, case: _Case) -> ApiError:
    said = f": {case.text}" if case.text else ""
    return _error(kind, f"the account at {case.who} has no credit for this request{said}", case)


def _block(words: tuple[str, str, str], kind: str, case: _Case) -> ApiError:
    """An image or a document in Anthropic's words, which make Claude Code drop the block and ask again; the upstream's in brackets."""
    name = case.rule.name if case.rule else ""
    none, size, bad = words
    if case.rule and case.rule.verbatim:
        return ApiError(kind, case.text)
    chosen = none if name.endswith((".none", ".text_only")) else size if name.endswith(".size") else bad
    said = f" ({case.text})" if case.text else ""
    return _error(kind, chosen + said, case)


def _image(kind: str, case: _Case) -> ApiError:
    return _block(
        (
            "Could not process image: this model takes no images",
            "image exceeds the maximum size",
            "Could not process image",
        ),
        kind,
        case,
    )


def _document(kind: str, case: _Case) -> ApiError:
    return _block(("This model does not support PDF input", "", "Could not process PDF"), kind, case)


_WORDED: dict[str, Callable[[str, _Case], ApiError]] = {
    "context_overflow": _overflow,
    "max_tokens": _cap,
    "rate_limit": _size,
    "authentication": _key,
    "billing": _billing,
    "image": _image,
    "document": _document,
}
