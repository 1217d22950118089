"""Show foreign text safely: control and format characters become visible escapes.

A path, a model's name or an upstream's error may hold an escape sequence that rewrites the terminal's screen, a line
break that makes one log line look like two, or a mark that reverses what is read (U+202E). The log, the command line
and error messages pass foreign text through here.

Knows: Unicode's general categories.
Must not know: where a text comes from, or where it is shown.
Invariants: the result holds no character of HIDDEN_CATEGORIES other than those in `keep`. A JSON document stays the
same document.
"""

from __future__ import annotations

#: Categories of characters that are never shown: control (Cc), format (Cf), line and paragraph separators (Zl, Zp),
#: lone surrogates (Cs).
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
#: Hidden characters that only separate words. They become a space. (JSON has none of them inside a string.)
_BREAKS = frozenset("\t\n\v\f\r")


def printable(text: str, keep: str = "") -> str:
    """Return `text` with its hidden characters replaced: line breaks and tabs by a space, others by a JSON escape
    (U+202E by `\\u202e`).

    `keep`: hidden characters to leave as they are, such as the line breaks of a message that has several lines."""
    if text.isprintable():
        return text
    from unicodedata import category  # a shared library, which hardly any process needs

    return "".join(
        _visible(char) if char not in keep and category(char) in HIDDEN_CATEGORIES else char for char in text
    )


def lower_first(text: str) -> str:
    """Return `text` for the middle of a sentence: "Connection refused", as the C library writes it, with a small
    letter. An abbreviation ("IP address mismatch") stays as it is."""
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _visible(char: str) -> str:
    if char in _BREAKS:
        return " "
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
