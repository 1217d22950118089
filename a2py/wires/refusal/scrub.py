"""Remove from an upstream's words what must not reach a client.

Knows: how keys, ids, addresses and stacks look, and which phrases Claude Code acts on. Must not know: where the text
came from.
Invariants: `scrub` raises on nothing, keeps no key-like string and no URL query, and returns one line of at most LIMIT
characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from a2py.printable import printable

#: Characters of a message to the client.
LIMIT = 2000
#: Characters that are read, so that no pattern runs over megabytes.
LOOK = 4000
#: Shorter secrets are not removed: they would match parts of ordinary words.
SECRET = 4

_STACK = re.compile(r"Traceback \(most recent call last\)|\n[ \t]*(?:at \S+ ?\(|File \"|goroutine \d)", re.IGNORECASE)
#: Patterns and their replacements. Order matters: URLs come before the keys in them.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=_-]*"), "data:…"),
    (re.compile(r"(\b\w{2,10}://)[^/\s@\"'<>]+@"), r"\1"),
    (re.compile(r"(\b\w{2,10}://[^\s?#\"'<>]+)[?#][^\s\"'<>)\]}]*"), r"\1"),
    (re.compile(r"\b(bearer|basic)\s+(?=\S*\d|\S{20,})\S{4,}", re.IGNORECASE), r"\1 …"),
    # a name of a key, then the key: "API key provided: sk-ab***yz", api_key=…, "Your api key: ****-key"
    (
        re.compile(
            r"((?:api|access|secret|auth\w*|subscription)[ _-]?(?:key|token)s?(?: provided"
            r"| is)?[\"'`]?\s*[:=]\s*[\"'`]?)[^\s\"'`,;)}\]]+",
            re.IGNORECASE,
        ),
        r"\1…",
    ),
    # prefixes that vendors give their keys, whole or masked
    (re.compile(r"(?<![A-Za-z0-9_-])(?:sk|gsk|csk|xai|nvapi|pplx|sess)[-_][A-Za-z0-9*•….][\w*•….-]*"), "…"),
    (
        re.compile(
            r"(?<![A-Za-z0-9_-])(?:pk|rk|ak|ek|fw|hf|r8|tgp|vck|key)[-_](?=[\w-]{0,40}[\d*•…]|[\w-]{16,})[\w*•….-]+"
        ),
        "…",
    ),
    (re.compile(r"(?<![A-Za-z0-9])(?:AIza|AKIA|ghp_|gho_|ghs_|github_pat_|glpat-|ya29\.|eyJ)[\w*.-]{6,}"), "…"),
    # ids of accounts
    (
        re.compile(
            r"(?<![A-Za-z0-9])(org|proj|user|acct|account|team|usr|cus)[-_](?=[\w-]{0,40}[0-9X])[A-Za-z0-9-]{6,}"
        ),
        r"\1-…",
    ),
    # long runs of letters and digits: keys without a prefix (Mistral, Azure, Together, Z.ai), base64
    (
        re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*\d)(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{32,}(?:\.[A-Za-z0-9]+)*"),
        "…",
    ),
    (re.compile(r"[A-Za-z0-9+/=]{80,}"), "…"),
)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")

#: Claude Code 2.1.332 compacts the conversation at a 400, 413 or 422 with one of these phrases (2026-11),
_OVERFLOW = re.compile(
    r"prompt is too long|input is too long|maximum context l(?:ength|imit)|context_length_exceeded"
    r"|contextwindowexceedederror"
    r"|exceeds the context window|longer than the maximum model length|longer than the model's context length"
    r"|exceeds the available context size|exceeds the maximum number of tokens allowed|exceeded model token limit"
    r"|input token length too long|input tokens exceed the configured limit|maximum prompt length"
    r"|prompt exceeds max length"
    r"|tokens in request more than max tokens allowed|range of input length should be|context window exceeds limit"
    r"|but model only supports up to|reduce the length of the messages|`inputs` tokens \+ `max_new_tokens` must be"
    r"|context exceeds your deployment|exceed context limit",
    re.IGNORECASE,
)
#: removes an image or a document at one of these,
_BLOCK = re.compile(
    r"could not process (?:image|pdf)|image exceeds|image dimensions exceed"
    r"|image does not match the provided media type|image cannot be empty"
    r"|images? exceeds? (?:the )?api limit|does not support pdfs?\b|pdf cannot be empty|too much media",
    re.IGNORECASE,
)
#: and asks for a login, or reports the client's own account, at one of these.
_ACCOUNT = re.compile(r"x-api-key|credit balance is too low|organization has been disabled", re.IGNORECASE)
#: Kind → the phrases that are wanted in its message.
_OWN_PHRASES = {"context_overflow": _OVERFLOW, "max_tokens": _OVERFLOW, "image": _BLOCK, "document": _BLOCK}
_SEPARATORS = str.maketrans({" ": "-", "_": " ", "-": " "})


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` in one line, without `secrets`, key-like strings, ids of accounts, URL queries and stacks."""
    for secret in secrets:
        if len(secret) >= SECRET:
            text = text.replace(secret, "…")
    text = text[:LOOK]
    stack = _STACK.search(text)
    if stack:
        text = text[: stack.start()]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return shorten(printable(_SPACE.sub(" ", text).strip()))


def shorten(text: str) -> str:
    """Return `text`, cut to LIMIT characters."""
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


def defuse(text: str, kind: str) -> str:
    """Return `text` without the phrases that Claude Code acts on, except those that `kind` wants.

    Their separators are exchanged, so that a person can still read them: "maximum context length" →
    "maximum-context-length"."""
    for phrases in (_ACCOUNT, _OVERFLOW, _BLOCK):
        if _OWN_PHRASES.get(kind) is not phrases:
            text = phrases.sub(_break_up, text)
    return text


def _break_up(match: re.Match[str]) -> str:
    phrase = match[0].translate(_SEPARATORS)
    return phrase if phrase != match[0] else f"{phrase[:7]}-{phrase[7:]}"  # ContextWindowExceededError has no separator
