"""Remove from an upstream's sentence what it repeats of the request.

Why: an upstream that rejects a piece of a conversation often quotes that piece. Without this module the client's text
would be read as the upstream's own words. Once the message "max_tokens must be less than or equal to 1", quoted in a
400, limited the output of every client.
Example, for a request that contains the message `max_tokens must be less than or equal to 1`:

    messages.0: expected a list, got 'max_tokens must be less than or equal to 1'
    messages.0: expected a list, got '…'

A span is removed if it is between quotes, or follows a word like `input:` or `got` up to the end of its sentence, and
if all of it is also in the request. Text outside of such spans stays, whatever the conversation is about. So does a
quoted name (`'max_tokens'`): an upstream names the field that it rejects, and every request contains the names of its
fields.

Knows: how errors mark a quotation. Must not know: any wording, JSON.
Invariants: raises on nothing; makes at most as many searches as SentBody allows; without a request nothing is removed.
"""

from __future__ import annotations

import re

from a2py import jsontext
from a2py.messages.sent import SentBody

#: Replaces what was removed.
ELLIPSIS = "…"
#: Levels of quotes inside quotes that are read.
DEPTH = 4
#: Characters before a quotation in which its key is searched.
NEAR = 40
#: Shorter pieces of a text are not compared: every request contains them.
LEAST = 3

_CLOSING = {"“": "”", "‘": "’", "«": "»", "「": "」", "„": "“"}
#: What opens a span: a quote (with the backslashes that JSON inside a string puts before it), or a word that announces
#: the client's input.
_OPENING = re.compile(
    r"(?P<slashes>\\*)(?P<quote>[\"'`“‘«「„])"
    r"|\b(?:(?:inputs?|input_value|values?|actual|given)\s*[:=]|(?:got|received)\b\s*[:=]?"
    r"|(?:invalid|unexpected|unsupported|unknown|bad|incorrect|the) (?:value|input)\b(?! (?:of|for|is|must|should"
    r"|to)\b)\s*[:=]?)\s*",
    re.IGNORECASE,
)
#: Words at which a span without quotes may end before the end of its sentence.
_TAIL = re.compile(
    r"\b(?:instead|of type|expected|but expected|is not|is invalid|cannot|could not|was)\b|\b(?:input_)?type=",
    re.IGNORECASE,
)
#: A quoted key before a quoted value: the value is the upstream's own sentence, in JSON or Python's notation inside a
#: longer text.
_OWN_KEY = re.compile(r"[\"'](?:message|msg|error|detail|description|reason|title)\\*[\"']\s*:\s*$", re.IGNORECASE)
#: Characters at the ends of a quotation that may or may not belong to it.
_EDGES = " .,;:()[]{}<>"
#: A name, a path or a number.
_NAME = re.compile(r"[\w.\[\]/:@$*<>=+-]*", re.ASCII)
#: What may be written differently in the request's JSON and in the error: escapes, quotes, white space except one
#: space, and the dots where an upstream shortens.
_UNSURE = re.compile(
    r"(?:\\+(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)?|[\"'`…\x00-\x1f\x7f-\x9f]|\.{3,}|[^\S ]| {2,})+",
    re.DOTALL,
)


def without_echo(sentence: str, sent_body: SentBody) -> str:
    """Return `sentence` with "…" in place of each span that the upstream repeats from the request."""
    return _clean(sentence, sent_body, DEPTH) if sent_body else sentence


def repeats(text: str, sent_body: SentBody) -> bool:
    """Return whether all readable pieces of `text` are in the request.

    The pieces are compared, not the whole: the request is JSON, so that a quote or a line feed is an escape there, and
    the error may hold the text itself, its JSON, Python's notation of it, or only its beginning and end."""
    pieces = [piece for piece in (part.strip(_EDGES) for part in _UNSURE.split(text)) if len(piece) >= LEAST]
    pieces.sort(key=len, reverse=True)  # the longest is the least likely to be there by chance
    return bool(pieces) and all(sent_body.holds(piece.encode("utf-8", "replace")) for piece in pieces)


def _clean(text: str, sent_body: SentBody, depth: int) -> str:
    """Return `text` with each repeated span replaced. `depth`: levels of quotes inside quotes that are still read."""
    pieces: list[str] = []
    copy_end = at = 0  # the end of what is in `pieces`, and where the search goes on
    while match := _OPENING.search(text, at):
        start, quote = match.end(), match["quote"]
        if not quote:
            stop = after = _end_of_unquoted(text, start, sent_body)
            shorter = ELLIPSIS if stop > start else ""
        elif quote == "'" and match.start() and text[match.start() - 1].isalnum():
            at = start  # an apostrophe
            continue
        else:
            shorter, stop, after = _replace_quoted(text, match, sent_body, depth)
        if shorter:
            pieces += (text[copy_end:start], shorter)
            copy_end = stop
        at = max(after, start)
    return "".join((*pieces, text[copy_end:]))


def _find_closing_quote(text: str, at: int, slashes: str, quote: str) -> tuple[int, int]:
    """Return where the next closing quote at or after `at` begins and ends.

    Without one, both are the end of the text."""
    closing = _CLOSING.get(quote, quote)
    at = text.find(closing, at)
    while at >= 0:
        stop = at
        while stop and text[stop - 1] == "\\":
            stop -= 1
        is_apostrophe = quote == "'" and text[at + 1 : at + 2].isalnum()
        if at - stop == len(slashes) and not is_apostrophe:
            return stop, at + 1
        at = text.find(closing, at + 1)
    return len(text), len(text)


def _replace_quoted(text: str, opening: re.Match[str], sent_body: SentBody, depth: int) -> tuple[str, int, int]:
    """Return what replaces a quotation ("" if it stays), where it ends, and where to read on."""
    start, slashes, quote = opening.end(), opening["slashes"], opening["quote"]
    stop, after = _find_closing_quote(text, start, slashes, quote)
    inner = text[start:stop]
    if not _OWN_KEY.search(text, max(0, opening.start() - NEAR), opening.start()) and _is_repeated(inner, sent_body):
        # The client's text may contain the same quote. Read on to the last quote up to which the text is in the request
        # unchanged.
        further = _find_closing_quote(text, after, slashes, quote)
        while further[0] < further[1] and _is_verbatim(text[start : further[0]], sent_body):
            stop, after = further
            further = _find_closing_quote(text, after, slashes, quote)
        return ELLIPSIS, stop, after
    if stop == after:
        return "", stop, start  # a quote that is never closed, such as an apostrophe, is an ordinary character
    new_inner = _clean(inner, sent_body, depth - 1) if depth else inner
    return (new_inner if new_inner != inner else ""), stop, after


def _is_verbatim(text: str, sent_body: SentBody) -> bool:
    """Return whether `text` is in the request in one piece, as plain text or as JSON."""
    forms = (jsontext.dumps(text)[1:-1], text.encode("utf-8", "replace"))
    return any(sent_body.holds(form, default=False) for form in forms)


def _end_of_unquoted(text: str, start: int, sent_body: SentBody) -> int:
    """Return where the client's text that begins at `start` ends; `start` if there is none.

    The longest span that is in the request counts. If the shortest one is only a name or a number, nothing is removed:
    "got 1.5 instead" says what the upstream received, and every request contains short values."""
    if _OPENING.match(text, start):
        return start  # a quote follows, which shows the end exactly
    ends = [*(match.start() for match in _TAIL.finditer(text, start)), len(text)]
    if _NAME.fullmatch(text[start : ends[0]].strip()):
        return start
    return next((end for end in reversed(ends) if _is_repeated(text[start:end], sent_body)), start)


def _is_repeated(span: str, sent_body: SentBody) -> bool:
    """Return whether a marked span is the client's: it is more than a name, and all of it is in the request."""
    return not _NAME.fullmatch(span.strip()) and repeats(span, sent_body)
