"""keys.yaml: the keys of the proxy's clients, each with what it may do.

    keys:
      alice:
        sha256: 5f0c…        # of the key, which is written nowhere
        models: [gpt-5, "claude-*"]
        budget: 20/day

Knows: the fields of a key. Must not know: when the file is read, how a key is checked, what models there are.
Invariants: a mistake is a ConfigError with its line, so that no key means more than its author wrote; a field that is
not known is ignored, unless it looks like one that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

from a2py.budget import parse_budget
from a2py.caller import MASTER, Caller
from a2py.config import values as v
from a2py.config.error import ConfigError
from a2py.config.tree import Node, parse

#: Keys in one file. Each request is compared with all of them: 0.3 ms.
MAX_KEYS = 1000
#: A name is shown in logs, metrics and tables.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
NAME_RULE = "letters, digits and . _ @ + -, at most 64, the first a letter or a digit"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CURE = "Make a key with `a2py keys new NAME`."


class Key(NamedTuple):
    """`digest`: SHA-256 of the key; `is_revoked`: it is kept so that its owner gets to read why it is refused."""

    caller: Caller
    digest: bytes
    is_revoked: bool = False


def parse_keys(data: bytes, file: str) -> tuple[Key, ...]:
    """Return the keys in the text of a keys.yaml. `file`: its name, for messages. Raise ConfigError."""
    tree = parse(data, file, _refuse_twice)
    if tree.value is None:
        return ()
    if not isinstance(tree.value, dict) or "keys" not in tree.value:
        raise ConfigError("the file has no `keys`", file=file, line=tree.at.line, cure="Begin with `keys:`.")
    node = tree.value["keys"]
    if node.value is None:
        return ()
    if not isinstance(node.value, dict):
        raise v.wrong(node, "keys", "a mapping", "Write one `NAME:` a line, indented, with its fields below it.")
    if len(node.value) > MAX_KEYS:
        raise ConfigError(f"the file has more than {MAX_KEYS} keys", file=file, line=node.at.line, cure="Remove some.")
    keys: dict[bytes, Key] = {}
    for name, fields in node.value.items():
        key = _parse_key(name, fields)
        if key.digest in keys:
            message = f"is the same key as `{keys[key.digest].caller.name}`"
            raise v.fail(fields.value["sha256"].at, f"keys.{name}.sha256", message, "Remove one of them.")
        keys[key.digest] = key
    return tuple(keys.values())


def _refuse_twice(warning: str) -> NoReturn:
    """Refuse a name or a field that is written twice. Which of them holds must not be a guess."""
    raise ConfigError(warning.partition(", and")[0], cure="Remove one.")


def _sentence(error: ValueError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _parse_key(name: str, node: Node) -> Key:
    path = f"keys.{name}"
    if not NAME.fullmatch(name) or name == MASTER.name:
        reason = "is the name of the master key" if name == MASTER.name else f"must be a name: {NAME_RULE}"
        raise v.fail(node.key_at, f"keys.{v.quote_text(name)}", reason, "Write another name.")
    if not isinstance(node.value, dict):
        raise v.wrong(node, path, "a mapping", _CURE)
    for field, child in node.value.items():
        meant = _find_meant(field)
        if meant:  # what was meant as a limit must not become none
            raise v.fail(child.key_at, f"{path}.{v.quote_text(field)}", "is unknown", f"Did you mean `{meant}`?")
    values: dict[str, Any] = {}
    for field, read in _FIELDS.items():
        child = node.value.get(field)
        if child is None:
            continue
        if child.value is None:  # what was perhaps a limit must not become none
            raise v.fail(child.at, f"{path}.{field}", "has no value", "Write one, or remove the line.")
        values[field] = read(child, f"{path}.{field}")
    if "sha256" not in values:
        raise v.fail(node.at, path, "has no `sha256`", _CURE)
    caller = Caller(
        name,
        values.get("admin", False),
        values.get("models", ()),
        values.get("rpm", 0),
        values.get("tpm", 0),
        values.get("max_parallel", 0),
        values.get("budget"),
        values.get("expires", 0.0),
    )
    return Key(caller, values["sha256"], values.get("revoked", False))


def _find_meant(field: str) -> str:
    """Return the field as which an unknown one is surely meant, "" if it is one of the user's own."""
    if field in _FIELDS:
        return ""
    spelling = field.strip().lower().replace("-", "_")
    return _LITELLM.get(spelling) or next(iter(get_close_matches(spelling, _FIELDS, 1, 0.81)), "")


def _read_digest(node: Node, path: str) -> bytes:
    text = v.text(node, path).lower()
    if not _SHA256.fullmatch(text):
        raise v.fail(node.at, path, "must be 64 hexadecimal digits", _CURE)
    return bytes.fromhex(text)


def _read_models(node: Node, path: str) -> tuple[str, ...]:
    names = v.texts(node, path)
    if not names or not all(names):
        raise v.fail(node.at, path, "must name a model", "Write `models: [name, other-*]`, or remove it to allow all.")
    return names


def _read_budget(node: Node, path: str) -> Any:
    try:
        return parse_budget(v.text(node, path))
    except ValueError as error:
        raise v.fail(node.at, path, "must be an amount and a period", _sentence(error)) from None


def _read_expiry(node: Node, path: str) -> float:
    try:
        return parse_expiry(v.text(node, path)) or 1.0  # 0 would be never
    except ValueError as error:
        raise v.fail(node.at, path, "must be a date", _sentence(error)) from None


def _read_revoked(node: Node, path: str) -> bool:
    """Return whether a key is revoked: `true`, or when it was."""
    return node.value is not False and v.text(node, path).lower() not in ("false", "no", "off", "0", "")


_FIELDS: dict[str, Callable[[Node, str], Any]] = {
    "sha256": _read_digest,
    "models": _read_models,
    "rpm": v.whole(1),
    "tpm": v.whole(1),
    "max_parallel": v.whole(1),
    "budget": _read_budget,
    "expires": _read_expiry,
    "admin": v.boolean,
    "revoked": _read_revoked,
}


#: LiteLLM's names of what a key is limited to (its /key/generate, 2026-11) → field.
_LITELLM = {
    "max_budget": "budget",
    "rpm_limit": "rpm",
    "tpm_limit": "tpm",
    "max_parallel_requests": "max_parallel",
    "blocked": "revoked",
}


def parse_expiry(text: str) -> float:
    """Return the moment at which a key ends, in seconds since the epoch: a time in ISO 8601 (UTC unless it names a
    zone), or the end of a day in UTC. Raise ValueError."""
    text = text.strip()
    try:
        if len(text) == 10:
            day = date.fromisoformat(text) + timedelta(days=1)
            return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("write a date like 2027-01-31 (to its end, UTC), or a time like 2027-01-31T12:00Z") from None
