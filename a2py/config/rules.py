"""The section `a2py: routes:` → rules.

Knows: how a rule is written, and what to say of one that is not. Must not know: when a rule holds (messages/rules.py),
which models there are.
Invariants: a mistake is a ConfigError with the place of the word that is wrong: a rule that was dropped would send
prompts to another model than the file says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from a2py.config import values as v
from a2py.config.error import ConfigError
from a2py.config.tree import Node
from a2py.messages.rules import FLAGS, WORDS, Condition, Rule
from a2py.quirks import EFFORTS

KEYS = ("when", "model", "name", "sticky")
#: Headers that hold credentials. A rule about one would be a secret in the file.
CREDENTIALS = ("authorization", "cookie", "proxy-authorization", "x-api-key", "x-litellm-api-key")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_EXAMPLE = "Write `- {when: subagent, model: NAME}`."


def parse_rules(node: Node, path: str) -> tuple[Rule, ...]:
    """Parse the list of rules."""
    if not isinstance(node.value, list):
        raise v.wrong(node, path, "a list of rules", _EXAMPLE)
    return tuple(_rule(child, f"{path}[{n}]") for n, child in enumerate(node.value))


def _rule(node: Node, path: str) -> Rule:
    if not isinstance(node.value, dict):
        raise v.wrong(node, path, "a mapping", _EXAMPLE)
    for key, child in node.value.items():
        if key not in KEYS:
            raise v.fail(child.key_at, f"{path}.{key}", "is unknown", _suggest(key, KEYS, "A rule has"))
    when, model = _member(node, "when", path), _member(node, "model", path)
    alternatives = _alternatives(when, f"{path}.when")
    name, sticky = node.get("name"), node.get("sticky")
    return Rule(
        model=_word(model, f"{path}.model"),
        alternatives=alternatives,
        label=_word(name, f"{path}.name") if name else " | ".join(map(_describe, alternatives)),
        is_sticky=v.boolean(sticky, f"{path}.sticky") if sticky else True,
        at=model.at,
    )


def _member(node: Node, key: str, path: str) -> Node:
    child = node.get(key)
    if child is None:
        raise v.fail(node.at, path, f"has no `{key}`", _EXAMPLE)
    return child


def _word(node: Node, path: str) -> str:
    word = v.text(node, path)
    if not word:
        raise v.wrong(node, path, "text", "Write a name.")
    return word


def _suggest(word: str, words: tuple[str, ...], label: str) -> str:
    near = get_close_matches(word, words, 1, 0.6)
    return f"Did you mean `{near[0]}`?" if near else f"{label}: {', '.join(words)}."


def _alternatives(node: Node, path: str) -> tuple[tuple[Condition, ...], ...]:
    """Parse `when`: a word, a mapping of conditions that hold together, or a list of which one holds."""
    items = v.items(node, path) if isinstance(node.value, list) else [(path, node)]
    if not items:
        raise v.wrong(node, path, "a condition", "Write `when: subagent`.")
    return tuple(_conditions(child, at) for at, child in items)


def _conditions(node: Node, path: str) -> tuple[Condition, ...]:
    if isinstance(node.value, dict):
        if not node.value:
            raise v.wrong(node, path, "a condition", "Write `when: subagent`.")
        return tuple(_condition(word, child, f"{path}.{word}") for word, child in node.value.items())
    word = _word(node, path)
    if word in FLAGS:
        return (Condition(word, True),)
    if word in WORDS:
        raise v.fail(node.at, path, f"needs a value for `{word}`", f"Write `{path.rpartition('.')[2]}: {{{word}: …}}`.")
    raise _unknown(word, node.at, path)


def _unknown(word: str, at: Any, path: str) -> ConfigError:
    return v.fail(at, path, f"names an unknown condition, {v.quote_text(word)}", _suggest(word, WORDS, "There are"))


def _condition(word: str, node: Node, path: str) -> Condition:
    if word not in WORDS:
        raise _unknown(word, node.key_at, path)
    return Condition(word, _PARSERS.get(word, v.boolean)(node, path))


def _think(node: Node, path: str) -> bool | str:
    """Parse true, false, or the least effort."""
    word = node.raw.strip().lower()
    return word if word in EFFORTS[1:] else v.boolean(node, path)


def _patterns(node: Node, path: str) -> tuple[str, ...]:
    patterns = tuple(_word(child, at) for at, child in v.items(node, path))
    if not patterns:
        raise v.wrong(node, path, "text", "Write a name.")
    return patterns


def _headers(node: Node, path: str) -> tuple[tuple[str, str], ...]:
    """Parse name → pattern, or the name alone for any value."""
    pairs = v.headers(node, path) if isinstance(node.value, dict) else {_word(node, path): "*"}
    for name in pairs:
        if not _NAME.fullmatch(name):  # such a rule would never hold
            raise v.wrong(node, path, "a header's name", "Write `header: {x-team: blue}`.")
        if name.lower() in CREDENTIALS:
            raise v.fail(node.at, path, f"asks for a credential, {name}", "Use another header.")
    if not pairs:
        raise v.wrong(node, path, "a header", "Write `header: {x-team: blue}`.")
    return tuple((name.lower(), pattern) for name, pattern in pairs.items())


_PARSERS: dict[str, Callable[[Node, str], Any]] = {
    "think": _think,
    "tokens_over": v.whole(0),
    "header": _headers,
    "tool": _patterns,
    "model": _patterns,
}


def _describe(conditions: tuple[Condition, ...]) -> str:
    """Return the conditions as a text. A header's value stays out: it may be a secret."""
    return " & ".join(map(_describe_one, conditions))


def _describe_one(condition: Condition) -> str:
    word, value = condition
    if isinstance(value, bool):
        return word if value else f"not {word}"
    if word == "header":
        value = [name for name, _ in value]
    return f"{word} {','.join(value) if isinstance(value, (list, tuple)) else value}"
