"""Read JSON as people write it by hand: with comments, trailing commas, single quotes and bare keys (JSON5).

claude-code-router reads its file with the json5 package (its src/utils/index.ts, read 2026-11).

Knows: tokens of JSON5. Must not know: what any key means.
Invariants: every token keeps its line, so a mistake is reported where it is; no message shows a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from a2py.config.error import ConfigError
from a2py.config.tree import MAX_BYTES

#: An open string or comment reaches to the end of the text: so each character is read once.
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z))"""
    r"""|(?P<comment>//[^\n]*|/\*(?:.*?\*/|.*\Z))"""
    r"""|(?P<word>[A-Za-z_$][\w$]*)"""
    r"""|(?P<number>[+-]?(?:\.\d+|\d+\.?\d*)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<space>\s+)|(?P<mark>.)""",
    re.DOTALL,
)
#: Escapes of JSON5 that JSON lacks. A backslash before a line break joins the lines.
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|\r\n|.)", re.DOTALL)
_ESCAPE_OR_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_JSON_ESCAPES = frozenset('"\\/bfnrtu')
_WORDS = frozenset(("true", "false", "null"))


def parse(text: str, file: str) -> Any:
    """Return the value of a JSON5 text. Raise ConfigError if it is not one."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES >> 20} MB", file=file)
    try:
        return json.loads("".join(_as_json(text.removeprefix("\ufeff"))), strict=False)
    except json.JSONDecodeError as error:
        cure = "Correct the comma, the quote or the bracket there."
        raise ConfigError(
            f"not valid JSON: {error.msg}", file=file, line=error.lineno, column=error.colno, cure=cure
        ) from None
    except RecursionError:
        cure = "Look for a bracket that is not closed, or take the inner levels out."
        raise ConfigError("the file is nested too deeply", file=file, cure=cure) from None


def _as_json(text: str) -> Iterator[str]:
    """Yield the tokens of `text` as JSON. A comma is held back until the token after it is known."""
    pending = ""  # a comma, and the blanks after it
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind in ("comment", "space"):
            blank = re.sub(r"[^\n]", " ", token)
            if pending:
                pending += blank
            else:
                yield blank
            continue
        if pending:
            yield pending.replace(",", " ") if token in "}]" else pending
            pending = ""
        if token == ",":
            pending = token
        else:
            yield _convert(kind, token, text, match.end())
    yield pending


def _convert(kind: str | None, token: str, text: str, end: int) -> str:
    """Return one token as JSON has it. `end`: where it ends in `text`."""
    if kind == "string" and (len(token) < 2 or token[-1] != token[0]):
        return token  # json says where it begins
    if kind == "string":
        inside = _ESCAPE_OR_QUOTE.sub(_escape_quote, token[1:-1]) if token[0] == "'" else token[1:-1]
        return f'"{_ESCAPE.sub(_convert_escape, inside)}"'
    if kind == "word" and token not in _WORDS:
        return f'"{token}"' if text[end:].lstrip()[:1] == ":" else token
    if kind == "number":
        sign, digits = ("-" if token[0] == "-" else ""), token.lstrip("+-")
        digits = ("0" if digits.startswith(".") else "") + digits
        return sign + re.sub(r"\.(?!\d)", "", digits)
    return token


def _escape_quote(match: re.Match[str]) -> str:
    return '\\"' if match[0] == '"' else match[0]


def _convert_escape(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] == "x" and len(escape) == 3:
        return f"\\u00{escape[1:]}"
    if escape in ("\n", "\r\n"):
        return ""
    return f"\\{escape}" if escape in _JSON_ESCAPES else escape
