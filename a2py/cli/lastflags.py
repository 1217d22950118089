"""`a2py restart`: the flags of the last start, with those given now.

Knows: the parser of serve, which flags belong together, which flags are paths. Must not know: processes, records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from a2py.cli import options

#: Flags that say what is served. If one of CHOICES is given, all SOURCE flags of the last start are dropped.
CHOICES = frozenset(("config", "model", "demo"))
SOURCE = frozenset(flag.names[0][2:].replace("-", "_") for flag in options.SOURCE)
#: Flags whose value is a path. A relative path depends on the folder in which it was typed.
PATHS = frozenset(("config", "capture", "ssl_keyfile_path", "ssl_certfile_path"))


def has_source(parser: options.Parser, argv: Sequence[str]) -> bool:
    """Return whether the flags say what to serve."""
    return any(dest in CHOICES for dest, _ in _group(parser, argv))


def merge_flags(parser: options.Parser, old: tuple[Sequence[str], str], new: tuple[Sequence[str], str]) -> list[str]:
    """Return the old flags that the new ones do not replace, then the new ones.

    `old`, `new`: flags, and the folder in which they were typed. Paths become absolute, because the folders may
    differ."""
    dests = {dest for dest, _ in _group(parser, new[0])}
    if dests & CHOICES:
        dests |= SOURCE
    flags: list[str] = []
    for dest, words in _group(parser, old[0]):
        if dest not in dests:
            flags += _absolute(words, old[1]) if dest in PATHS else words
    for dest, words in _group(parser, new[0]):
        flags += _absolute(words, new[1]) if dest in PATHS else words
    return flags


def _group(parser: options.Parser, argv: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each flag's destination and its words: `--port 1`, `--port=1`, `-p 1` and `-p1` all have the destination
    `port`."""
    words = options.use_dashes(argv)
    n = 0
    while n < len(words):
        name, equals, _ = words[n].partition("=")
        action = parser._option_string_actions.get(name)
        if action is None and not name.startswith("--"):
            action, equals = parser._option_string_actions.get(name[:2]), "attached"
        if action is None:
            raise ValueError(words[n])  # the parser has accepted these words
        count = 1 if equals or action.nargs == 0 else 2
        yield action.dest, list(words[n : n + count])
        n += count


def _absolute(words: list[str], folder: str) -> list[str]:
    """Return a flag's words with an absolute path."""
    if len(words) == 2:
        return [words[0], os.path.join(folder, words[1])]
    name, equals, path = words[0].partition("=")
    if equals:
        return [name + equals + os.path.join(folder, path)]
    return [words[0][:2], os.path.join(folder, words[0][2:])]  # `-cFILE`
