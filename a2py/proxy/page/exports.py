"""A request as text that leaves the page: a command for curl, a capture, a golden case, a report for others.

Knows: the forms of these texts. Must not know: HTTP, where a recording is.
Invariants: no secret is in any of them; what a shell reads does nothing but ask; a report has no text of the client's
or the model's.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import orjson

from a2py import __version__
from a2py.evidence.fact import plain
from a2py.providers import find_quirks
from a2py.proxy.capture import render
from a2py.proxy.page.details import RecordingView
from a2py.proxy.recording import RecordedAttempt
from a2py.quirks import Quirks
from a2py.wires.changes.table import ADDED_FIELDS, BLOCKS, FIELDS

#: Headers of a request that change what it means.
_HEADERS = ("anthropic-version", "anthropic-beta")
#: Levels and members of a body that a report describes, and members that it does not: their names are the client's own.
_DEPTH, _MEMBERS, _PRIVATE = 3, 40, frozenset({"metadata", "schema"})
#: Fields of a request that a report names.
_KNOWN_FIELDS = frozenset({*FIELDS, "system", "messages", "tools"})
#: What the notation of a golden uses for itself (tests/README.md).
_NOTATION = re.compile("[␍␊‹›∎]")

JSON = dict[str, Any]


def make_curl(view: RecordingView, base: str) -> str:
    """Return a command that asks `base` the same. The key is taken from a variable."""
    recording = view.recording
    words = ["curl", "-sN", base + recording.path, "-H", "content-type: application/json"]
    for name, value in recording.headers:
        if name in _HEADERS:
            words += ["-H", f"{name}: {view.redactor.text(value)}"]
    command = " ".join(map(shlex.quote, words))
    body = view.parse(recording.body)
    # As ASCII, so that a terminal obeys nothing in it.
    data = json.dumps(body) if body is not None else json.dumps(view.text(recording.body))
    end = f"END_{secrets.token_hex(8)}"  # no line of the body can be this one
    return f"{command} -H \"x-api-key: $ANTHROPIC_AUTH_TOKEN\" --data-binary @- <<'{end}'\n{data}\n{end}\n"


def make_capture(view: RecordingView, row: JSON) -> str:
    """Return the file that `--capture` writes of a request."""
    return render(view.recording, row.get("status") or 0, row.get("error") or "ok", view.redactor).decode()


def make_golden(view: RecordingView, row: JSON) -> str:
    """Return a golden case (tests/README.md) of the last attempt. `make goldens` fills in what the client gets."""
    recording = view.recording
    if not recording.attempts:
        raise ValueError("nothing went upstream, so there is nothing to compare")
    attempt = recording.attempts[-1]
    request, upstream_request = view.parse(recording.body), view.parse(attempt.body)
    if request is None or upstream_request is None:
        raise ValueError("a body is not complete, so that it can't be compared")
    blocks = [
        _fence("config", _pretty(_describe_config(attempt, view))),
        _fence("request", _pretty(request)),
        _fence("upstream" + _describe_answer(attempt, bool(request.get("stream"))), _notate(view.data(attempt.reply))),
        _fence("upstream-request", _pretty(upstream_request)),
        _fence("client", ""),
    ]
    title = f"recorded: {attempt.deployment.provider} {attempt.deployment.wire}, status {row.get('status')}"
    return view.redactor.text("\n\n".join([f"## {title}", *blocks]) + "\n")


def _describe_config(attempt: RecordedAttempt, view: RecordingView) -> JSON:
    """Return the `config` of a golden: the deployment, and the quirks that its provider's row does not have."""
    deployment = attempt.deployment
    usual = find_quirks(deployment.provider, "", deployment.model)
    quirks = {
        field.name: plain(getattr(deployment.quirks, field.name))
        for field in fields(Quirks)
        if getattr(deployment.quirks, field.name) != getattr(usual, field.name)
    }
    headers = dict(view.recording.headers)
    betas = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip()]
    own: JSON = {"params": dict(deployment.params), "extra_body": dict(deployment.extra_body)}
    own |= {"drop": sorted(deployment.drop), "quirks": quirks, "call": {"betas": betas} if betas else {}}
    names = {"provider": deployment.provider, "model": deployment.model, "wire": deployment.wire}
    return {**names, **{name: value for name, value in own.items() if value}}


def _describe_answer(attempt: RecordedAttempt, is_stream: bool) -> str:
    """Return what follows the word `upstream`: an error's status and headers, or that the answer is no stream."""
    status, headers = attempt.head or (0, {})
    if status and not 200 <= status < 300:
        waits = [f" retry-after={headers['retry-after']}"] if headers.get("retry-after", "").isdecimal() else []
        return f" {status}{''.join(waits)}"
    return " unary" if is_stream and "json" in headers.get("content-type", "") else ""


def _fence(name: str, text: str) -> str:
    longest = max(map(len, re.findall("`{3,}", text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{name}\n{text}\n{fence}" if text else f"{fence}{name}\n{fence}"


def _notate(data: bytes) -> str:
    """Return the bytes of an upstream in the notation of a golden."""
    text = data.decode("utf-8", "surrogateescape")
    text = _NOTATION.sub(lambda match: f"‹{match[0].encode().hex()}›", text).replace("\r", "␍")
    text = re.sub("[\udc80-\udcff]+", lambda match: f"‹{match[0].encode('utf-8', 'surrogateescape').hex()}›", text)
    return text[:-1] if text.endswith("\n") else text + "∎"


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


# -- a report ----------------------------------------------------------------------------------------------------------


def make_report(view: RecordingView, row: JSON, detail: JSON) -> str:
    """Return what happened, without a text of the client's or the model's: for a bug report."""
    lines = [f"# A request to a2py {__version__}", ""]
    names = ("status", "stop_reason", "attempts", "input_tokens", "cache_read_tokens", "output_tokens", "estimated")
    lines += [f"- {name}: {row[name]}" for name in (*names, "first_token", "seconds") if name in row]
    lines += [f"- error: {_kind(row.get('error') or '')}", f"- degraded: {', '.join(row.get('degraded') or ())}", ""]
    body = view.parse(view.recording.body) or {}
    fields = {name: value for name, value in body.items() if name in _KNOWN_FIELDS}
    lines += ["## The request", "", *_outline(fields, "", 0), f"- other fields: {len(body) - len(fields)}", ""]
    for attempt, recorded_attempt in zip(detail["attempts"], view.recording.attempts, strict=True):
        lines += [*_report_attempt(attempt, recorded_attempt), ""]
    return view.redactor.text("\n".join(lines))


def _report_attempt(attempt: JSON, recorded_attempt: RecordedAttempt) -> Iterable[str]:
    yield f"## Attempt {attempt['number']}: {attempt['provider']}, {attempt['wire']} wire, {attempt['upstream']}"
    yield ""
    times = f"from {attempt['start']} s to {attempt['end']} s"
    yield f"- status {attempt['status']}, {times}, {len(recorded_attempt.reply.pieces)} pieces"
    if attempt["error"]:
        yield f"- error: {_kind(attempt['error'])}"
    for change in attempt["changes"]:
        place = " → ".join(filter(None, (_public(change["path"]), _public(change["to"]))))
        yield f"- {change['kind']} {place}: {change['doc']}"


def _kind(error: str) -> str:
    """Return the kind of an error, without its words, which may quote the client."""
    return error.partition(":")[0]


def _public(path: str) -> str:
    """Return a path without the names that a client has made up: of tools, of members, of fields that nobody knows."""
    top = re.split(r"[.\[ ]", path, maxsplit=1)[0]
    if top not in _KNOWN_FIELDS and top not in ADDED_FIELDS:
        return "…" if path else ""
    block = re.fullmatch(r"messages\[\]\.content\[(\w+)\]", path)
    return path if path == top or (block is not None and block[1] in BLOCKS) else f"{top}…"


def _outline(value: Any, path: str, depth: int) -> Iterable[str]:
    """Yield the form of a value: names of members that the API knows, types, sizes."""
    if isinstance(value, dict) and depth < _DEPTH:
        for name in list(value)[:_MEMBERS]:
            below = depth + 1 if name not in _PRIVATE else _DEPTH
            yield from _outline(value[name], f"{path}.{name}" if path else name, below)
    elif isinstance(value, list) and depth < _DEPTH:
        kinds: dict[str, int] = {}
        for one in value:
            kind = _describe(one)
            kinds[kind] = kinds.get(kind, 0) + 1
        yield f"- {path}: {len(value)} × ({', '.join(f'{kind} ×{number}' for kind, number in kinds.items())})"
    else:
        yield f"- {path}: {_describe(value)}"


def _describe(value: Any) -> str:
    """Return the type of a value, without its text."""
    if isinstance(value, dict):
        kind = value.get("type") or value.get("role")
        return kind if isinstance(kind, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,40}", kind) else "object"
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    return "list" if isinstance(value, list) else str(value)
