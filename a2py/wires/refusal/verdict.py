"""Which rule speaks for an error, and how far it is believed.

An error has three sources: the HTTP status, structured codes (`code`, `type`, `param`), and free text. Text may repeat the request, so:

- what it repeats is removed before any wording is matched (echo.py);
- a wording about one field is ignored if `param` names another one;
- a kind that would put the deployment into cooldown or blame its key counts against the deployment only if the status or a code supports it
  (`Blame`), and is ignored if nothing supports it and its words stand in the request;
- any other wording whose words stand in the request is used, but marked (`echoed`), so that nobody else learns from it.

Knows: kinds of bare statuses, how a rule is chosen. Must not know: single wordings, what the client is told, what a lesson changes.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from a2py.errors import COOLDOWN_KINDS, Blame
from a2py.messages.sent import NOTHING, Sent
from a2py.wires.refusal.body import Found
from a2py.wires.refusal.echo import repeats, without_echo
from a2py.wires.refusal.rule import Rule
from a2py.wires.refusal.topic import about_content, contradicts, supports

#: HTTP status → kind, where no wording says more. Below 500 anything else is invalid_request, from 500 on api.
STATUSES: dict[int, str] = {
    401: "authentication",
    402: "billing",
    403: "permission",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "api",
    410: "not_found",
    413: "request_too_large",
    425: "api",
    429: "rate_limit",
    498: "overloaded",  # Groq: flex tier at capacity
    499: "upstream",
    502: "upstream",
    503: "overloaded",
    504: "timeout",
    520: "upstream",  # 520 to 526: Cloudflare about the host behind it
    521: "upstream",
    522: "timeout",
    523: "upstream",
    524: "timeout",
    525: "upstream",
    526: "upstream",
    529: "overloaded",
}
#: Kinds that are about the deployment, its key or its account. An upstream's text alone does not prove them.
ABOUT_DEPLOYMENT = COOLDOWN_KINDS | {"overloaded", "api", "upstream", "timeout"}


class Verdict(NamedTuple):
    """`rule` and what its wording matched, or None; `heard`: the error without what it repeats of the request."""

    rule: Rule | None
    match: re.Match[str] | None
    heard: Found
    blame: Blame = Blame.KIND
    echoed: bool = False


@cache
def rules() -> tuple[Rule, ...]:
    """All rules, first match first. Compiled with the first error: some 100 patterns take as long as the rest of the start."""
    from a2py.wires.refusal.fields import FIELDS
    from a2py.wires.refusal.wordings import EARLY, LATE

    return (*EARLY, *FIELDS, *LATE)


def kind_of_status(status: int) -> str:
    """What a status means if nothing says more. 0: an error inside a 200."""
    kind = STATUSES.get(status)
    if kind is None:
        kind = "invalid_request" if 400 <= status < 500 else "upstream" if 0 < status < 400 else "api"
    return kind


def find(status: int, found: Found, provider: str, sent: Sent = NOTHING) -> Verdict:
    """The rule that speaks for an error. `status`: 0 inside a 200; `sent`: the request that was refused."""
    heard = found.heard(lambda sentence: without_echo(sentence, sent))
    line, codes = heard.line, " ".join(found.codes)
    for rule in rules():
        if (rule.statuses and status and status not in rule.statuses) or (rule.provider and rule.provider != provider):
            continue
        if rule.field == "param" and not found.param:
            continue
        if rule.codes and rule.codes.search(codes):
            return Verdict(rule, None, heard)
        match = rule.text.search(line) if rule.text else None
        if match is None or contradicts(found.param, rule, match):
            continue
        if rule.kind in ABOUT_DEPLOYMENT:
            blame = _blame(rule.kind, status, found, codes)
            if blame is Blame.NONE and _echoes(match[0], heard, sent):
                continue
            return Verdict(rule, match, heard, blame)
        return Verdict(
            rule, match, heard, echoed=not supports(found.param, rule, match) and _echoes(match[0], heard, sent)
        )
    at_fault = status in (404, 410) and about_content(found.param)
    return Verdict(None, None, heard, Blame.NONE if at_fault else Blame.KIND)


def _blame(kind: str, status: int, found: Found, codes: str) -> Blame:
    """How far status and codes support a kind that the text says."""
    if any(rule.kind == kind and rule.codes and rule.codes.search(codes) for rule in rules()):
        return Blame.KIND
    known = [kind_of_status(number) for number in (status, found.status) if number]
    if any(said in COOLDOWN_KINDS or said == kind for said in known):
        return Blame.KIND
    return Blame.FAILURE if any(said in ABOUT_DEPLOYMENT for said in known) else Blame.NONE


def _echoes(words: str, heard: Found, sent: Sent) -> bool:
    """Whether the words that a rule matched stand in the request.

    Rules see single spaces; in the request the same words may stand in several lines. So they are looked up as the upstream wrote them."""
    if not sent:
        return False
    spaced = re.compile(r"\s+".join(map(re.escape, words.split())))
    written = spaced.search(heard.text)
    return repeats(written[0] if written else words, sent)
