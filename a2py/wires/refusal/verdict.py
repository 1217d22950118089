"""Decide which rule applies to an error, and how far to believe it.

An error has three sources: the HTTP status, structured codes (`code`, `type`, `param`), and free text. The text may
repeat the request, so that a client could cause any sentence in it:

- what it repeats is removed before any wording is matched (echo.py);
- a wording about one field is ignored if `param` names another one;
- a kind that would put the deployment into cooldown, or blame its key, counts against the deployment only if the status
  or a code supports it (`Blame`), and is ignored if nothing supports it and its words are in the request;
- any other wording whose words are in the request is used, but marked (`is_echo`), so that nothing is learned from it
  for other requests.

Knows: the kind of a bare status, how a rule is chosen. Must not know: single wordings, messages to the client, what a
lesson changes.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from a2py.errors import COOLDOWN_KINDS, Blame
from a2py.messages.sent import NOTHING, SentBody
from a2py.wires.refusal.body import ErrorBody
from a2py.wires.refusal.echo import repeats, without_echo
from a2py.wires.refusal.rule import Rule
from a2py.wires.refusal.topic import contradicts, is_about_content, supports

#: HTTP status → kind, if no rule matches. Any other status below 500 is invalid_request, from 500 on api.
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
    520: "upstream",  # 520 to 526: Cloudflare about its origin server
    521: "upstream",
    522: "timeout",
    523: "upstream",
    524: "timeout",
    525: "upstream",
    526: "upstream",
    529: "overloaded",
}
#: Kinds that are about the deployment, its key or its account. The text of an error alone does not prove them.
ABOUT_DEPLOYMENT = COOLDOWN_KINDS | {"overloaded", "api", "upstream", "timeout"}


class Verdict(NamedTuple):
    """What was decided.

    `rule`, `match`: the rule that applies and what its wording matched, or None; `own`: the error without what it
    repeats of the request; `blame`, `is_echo`: as in ApiError."""

    rule: Rule | None
    match: re.Match[str] | None
    own: ErrorBody
    blame: Blame = Blame.KIND
    is_echo: bool = False


@cache
def rules() -> tuple[Rule, ...]:
    """Return all rules. The first match counts.

    They are compiled for the first error, not at the start: some 100 patterns take as long as the rest of the start."""
    from a2py.wires.refusal.fields import FIELDS
    from a2py.wires.refusal.wordings import EARLY, LATE

    return (*EARLY, *FIELDS, *LATE)


def kind_of_status(status: int) -> str:
    """Return the kind of a bare status. 0: an error inside a 200."""
    kind = STATUSES.get(status)
    if kind is None:
        kind = "invalid_request" if 400 <= status < 500 else "upstream" if 0 < status < 400 else "api"
    return kind


def find_rule(status: int, body: ErrorBody, provider: str, sent_body: SentBody = NOTHING) -> Verdict:
    """Return the rule that applies to an error. `status`: 0 inside a 200; `sent_body`: the request that was refused."""
    own = body.with_sentences(lambda sentence: without_echo(sentence, sent_body))
    line, codes = own.line, " ".join(body.codes)
    for rule in rules():
        if not _applies(rule, status, body, provider):
            continue
        if rule.codes and rule.codes.search(codes):
            return Verdict(rule, None, own)
        match = _match_text(rule, line)
        if match is None or contradicts(body.param, rule, match):
            continue
        if rule.kind not in ABOUT_DEPLOYMENT:
            is_echo = not supports(body.param, rule, match) and _is_echo(match[0], own, sent_body)
            return Verdict(rule, match, own, is_echo=is_echo)
        blame = _blame(rule.kind, status, body, codes)
        if blame is not Blame.NONE or not _is_echo(match[0], own, sent_body):
            return Verdict(rule, match, own, blame)
    is_own_fault = status in (404, 410) and is_about_content(body.param)  # for example a file id in the conversation
    return Verdict(None, None, own, Blame.NONE if is_own_fault else Blame.KIND)


def _match_text(rule: Rule, line: str) -> re.Match[str] | None:
    """Return the match of the rule's text in an error's `line`, unless the line has words that exclude the rule."""
    match = rule.text.search(line) if rule.text else None
    return None if match is not None and rule.unless and rule.unless.search(line) else match


def _applies(rule: Rule, status: int, body: ErrorBody, provider: str) -> bool:
    """Return whether the rule is for such a status and provider."""
    if rule.statuses and status and status not in rule.statuses:
        return False
    if rule.provider and rule.provider != provider:
        return False
    return rule.field != "param" or bool(body.param)


def _blame(kind: str, status: int, body: ErrorBody, codes: str) -> Blame:
    """Return how far the status and the codes support a kind that only the text claims."""
    if any(rule.kind == kind and rule.codes and rule.codes.search(codes) for rule in rules()):
        return Blame.KIND
    kinds = [kind_of_status(number) for number in (status, body.status) if number]
    if any(other in COOLDOWN_KINDS or other == kind for other in kinds):
        return Blame.KIND
    return Blame.FAILURE if any(other in ABOUT_DEPLOYMENT for other in kinds) else Blame.NONE


def _is_echo(words: str, own: ErrorBody, sent_body: SentBody) -> bool:
    """Return whether the words that a rule matched are in the request.

    Rules see single spaces, but the request may have the same words in several lines. So they are searched as the
    upstream wrote them."""
    if not sent_body:
        return False
    pattern = re.compile(r"\s+".join(map(re.escape, words.split())))
    match = pattern.search(own.text)
    return repeats(match[0] if match else words, sent_body)
