"""Turn what an upstream sent instead of a reply, or a connection that failed, into an `ApiError`.

Knows: where an error may be: an answer with an error status, a 200 that holds an error, an event of a stream, a web
page, a connection.
Must not know: single wordings (refusal/wordings.py, refusal/fields.py), what a lesson changes (lessons.py), sockets.
Invariants: raises on no input; no message holds a key, an account's id, a URL query or a stack; phrases that trigger
behavior in Claude Code (compaction, login) are used only when that behavior is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2py import jsontext
from a2py.errors import ApiError, Blame
from a2py.printable import lower_first
from a2py.wires.refusal import message, waiting
from a2py.wires.refusal.body import ErrorBody, parse_body, parse_value
from a2py.wires.refusal.message import DEFAULT_ADVICE, Case
from a2py.wires.refusal.peer import Peer
from a2py.wires.refusal.scrub import defuse, scrub, shorten
from a2py.wires.refusal.verdict import find_rule, kind_of_status

#: MiniMax `base_resp.status_code` → HTTP status (its error-code page, 2026-05). Any other code is 400.
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
#: Values of `code` that mean success. Some servers send `"code": 0` with every reply.
_SUCCESS_CODES = frozenset({0, 200, 20000, "0", "200", "ok", "OK", "Success", "success"})
#: Error kinds that neither another attempt nor waiting changes.
_FINAL_KINDS = frozenset({"authentication", "billing", "permission"})
#: Start of the `error_code` of each error about a thread.
_THREAD = "thread_"
#: What to do about a reply whose tool calls are broken.
CHECK_TOOLS = "Check the tool parser of the server: `a2py check --only tools`."
#: An unknown peer.
UNKNOWN = Peer()


def read(status: int, headers: Mapping[str, str], body: bytes, peer: Peer = UNKNOWN) -> ApiError:
    """Return the error of an answer whose status is not 2xx. `body`: as far as it was read."""
    lower = {name.lower(): value for name, value in headers.items()}
    details = _thread_details(body)
    if details:
        return _thread_error(status, body, details, peer)
    error, own = _judge(status, parse_body(body), peer, is_empty=not body.strip())
    if error.retryable and error.should_retry is not False:
        error.retry_after = waiting.seconds(lower, own)
    should_retry = lower.get("x-should-retry")
    if error.should_retry is None and should_retry in ("true", "false"):
        error.should_retry = should_retry == "true"
    return error


def _thread_details(body: bytes) -> dict[str, Any] | None:
    """Return `error.details` of an error about a thread, by which the SDKs recover; None for any other."""
    if f'"{_THREAD}'.encode() not in body:
        return None
    try:
        details = jsontext.loads(body)["error"]["details"]
        is_thread = details["error_code"].startswith(_THREAD)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return details if is_thread else None


def _thread_error(status: int, body: bytes, details: dict[str, Any], peer: Peer) -> ApiError:
    """Return the error about a thread. It is the request's: no deployment is at fault, and no lesson is learned."""
    text = shorten(defuse(scrub(parse_body(body).text, peer.secrets), "invalid_request"))
    error = ApiError("invalid_request", text, status=status, should_retry=False)
    error.details = details
    return error


def find_error(payload: dict[str, Any], peer: Peer = UNKNOWN) -> ApiError | None:
    """Return the error in a body, chunk or event of an answer with status 200, None if it holds none."""
    if not payload.get("error"):
        base = payload.get("base_resp")
        if isinstance(base, dict) and base.get("status_code"):
            return _read_base_resp(base, peer)
        if payload.get("choices") or not _is_error(payload):
            return None
    return read_event(payload, peer)


def read_event(payload: dict[str, Any] | bytes, peer: Peer = UNKNOWN) -> ApiError:
    """Return the error in an event that is certainly one, such as `event: error`, whatever it holds.

    The answer's status was 200."""
    body = parse_body(payload) if isinstance(payload, bytes) else parse_value(payload)
    error, own = _judge(body.status, body, peer)
    if error.retryable:
        error.retry_after = waiting.seconds({}, own)
    return error


def web_page_error(body: bytes, peer: Peer = UNKNOWN) -> ApiError:
    """Return the error for a web page with status 200: `api_base` is a site, or a login portal is in between."""
    title = defuse(scrub(parse_body(body).text), "upstream")
    return ApiError("upstream", shorten(f"{peer.host} answered with a web page: {title} (check `api_base`)"))


def reply_error(fault: str, peer: Peer = UNKNOWN, advice: str = DEFAULT_ADVICE, kind: str = "upstream") -> ApiError:
    """Return the error for a reply that cannot be used.

    `fault`: what the server did, starting with a verb: "sent an empty reply"."""
    return ApiError(kind, f"{peer.host} {fault}. {advice}")


def _is_error(payload: dict[str, Any]) -> bool:
    """Return whether a payload without `error` is an error all the same."""
    if payload.get("type") in ("error", "response.failed", "response.error") or payload.get("object") == "error":
        return True
    if payload.get("detail") or payload.get("success") is False:
        return True
    code = payload.get("code")
    is_error_code = isinstance(code, (str, int)) and bool(code) and code not in _SUCCESS_CODES
    return is_error_code and bool(payload.get("message") or payload.get("msg"))


def _read_base_resp(base: dict[str, Any], peer: Peer) -> ApiError:
    """Return the error in MiniMax's `base_resp`."""
    code = base["status_code"]
    status = BASE_RESP.get(code, 400) if isinstance(code, int) else 400
    return _judge(status, parse_value(base.get("status_msg")), peer)[0]


_CHECK_SERVER = "Check that the server is running and that `api_base` is right."
#: Kind of connection failure → error kind and message. `peer`: host, port and model.
_TRANSPORT: dict[str, tuple[str, str]] = {
    "connect": ("upstream", f"cannot connect to {{peer}}: {{detail}}. {_CHECK_SERVER}"),
    "proxy": (
        "upstream",
        "cannot reach {peer} through the proxy that is set: {detail}. Check `a2py: upstream_proxy`, or else "
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.",
    ),
    "dns": ("upstream", "cannot find the host of {peer}: {detail}. Check `api_base` and the DNS of this machine."),
    "tls": (
        "upstream",
        "no secure connection to {peer}: {detail}. Check the server's certificate, or set `ssl_verify` to the file of"
        " its CA.",
    ),
    "not_tls": (
        "upstream",
        "no secure connection to {peer}: {detail}. Does it speak http://? Then write http:// in `api_base`.",
    ),
    "timeout_connect": ("timeout", f"{{peer}} did not accept a connection in time: {{detail}}. {_CHECK_SERVER}"),
    "timeout_first_byte": (
        "timeout",
        "{peer} did not begin to answer in time: {detail}. If the server needs longer, raise `timeout`.",
    ),
    "timeout_idle": (
        "timeout",
        "{peer} stopped sending in the middle of its answer: {detail}. If the server needs longer, raise"
        " `stream_timeout`.",
    ),
    "timeout_contentless": (
        "timeout",
        "{peer} sent keepalives but no content: {detail}. If the server needs longer, raise `timeout`.",
    ),
    "timeout_total": (
        "timeout",
        "{peer} did not finish its answer in time: {detail}. If the server needs longer, raise `timeout`.",
    ),
    "broken": (
        "upstream",
        "{peer} sent an answer that can't be read: {detail}. Check that `api_base` is the address of a model server.",
    ),
    "cut": ("upstream", f"{{peer}} closed the stream early: {{detail}}. {DEFAULT_ADVICE}"),
}


def transport_error(kind: str, detail: str, peer: Peer = UNKNOWN) -> ApiError:
    """Return the error for a connection that failed.

    `kind`: a key of the table above, any other is worded like `connect`; `detail`: the cause in a few words."""
    error_kind, sentence = _TRANSPORT.get(kind, _TRANSPORT["connect"])
    cause = lower_first(scrub(detail).rstrip(". ") or "the cause is unknown")
    text = shorten(defuse(sentence.format(peer=peer.host_and_model, detail=cause), error_kind))
    return ApiError(error_kind, text, should_retry=False if kind in ("tls", "not_tls") else None)


def _judge(status: int, body: ErrorBody, peer: Peer, is_empty: bool = False) -> tuple[ApiError, ErrorBody]:
    """Return the error, and the body without what it repeats of the request."""
    verdict = find_rule(status, body, peer.provider, peer.sent_body)
    rule = verdict.rule
    kind = rule.kind if rule else kind_of_status(status)
    if is_empty and peer.provider == "cerebras" and status in (400, 413):
        # Cerebras answers an overflow with an empty body (other clients' pattern lists, 2026-11)
        kind = "context_overflow"
    if status >= 500 and kind == "invalid_request":
        kind = "api"
    text = defuse(scrub(body.text, peer.secrets), kind)
    codes = defuse(scrub(", ".join(body.codes), peer.secrets), kind)
    error = message.word(kind, Case(status, body, verdict.own, text, codes, peer, rule, verdict.match))
    error.is_echo = verdict.is_echo
    if error.blame is Blame.KIND:
        error.blame = verdict.blame
    if rule and rule.should_retry is not None:
        error.should_retry = rule.should_retry
    elif kind in _FINAL_KINDS:
        error.should_retry = False
    return error, verdict.own
