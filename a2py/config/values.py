"""Parsers: one node of the file → one typed value.

Knows: kinds of values, and how a wrong one is told. Must not know: which key holds which kind.
Invariants: a parser returns its type or raises ConfigError; numbers and booleans may be text (a variable of the environment always is);
an error never shows text of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from a2py.config.error import ConfigError
from a2py.config.tree import Node, plain
from a2py.hostname import parse_host

Parser = Callable[[Node, str], Any]

_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_BREAK = re.compile(r"[\r\n\0]")
#: Also of extensions and applications: `chrome-extension://…`, `app://obsidian.md`.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@*,\\]+)")
#: Schemes that the web has, with the port that their origins leave out.
_PORTS = {"http": ":80", "https": ":443"}
#: Headers that are the connection's own: another value lets the request hang, or two of them be told apart wrongly.
_FRAMING = frozenset(
    ("connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)


def wrong(node: Node, path: str, expected: str, cure: str = "") -> ConfigError:
    """The error of a value that is not what its key needs."""
    got = f"the value of ${node.env}" if node.env else _kind(node.value)
    at = node.at
    return ConfigError(
        f"expected {expected}, got {got}", file=at.file, line=at.line, column=at.column, path=path, cure=cure
    )


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value}"
    for kind, word in ((dict, "a mapping"), (list, "a list"), (str, "text")):
        if isinstance(value, kind):
            return word
    return "nothing"


def text(node: Node, path: str) -> str:
    if isinstance(node.value, (dict, list)):
        raise wrong(node, path, "text")
    return node.raw.strip()


def boolean(node: Node, path: str) -> bool:
    if isinstance(node.value, bool):
        return node.value
    word = node.raw.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise wrong(node, path, "true or false")


def _number(node: Node, path: str, least: float, expected: str) -> float:
    value = node.value
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise wrong(node, path, expected) from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
        raise wrong(node, path, expected)
    return value


def whole(least: int = 0) -> Parser:
    """A whole number of at least `least`."""
    expected = f"a whole number of at least {least}"

    def parse(node: Node, path: str) -> int:
        value = _number(node, path, least, expected)
        if value != int(value):
            raise wrong(node, path, expected)
        return int(value)

    return parse


def number(least: float = 0) -> Parser:
    """A number of at least `least` (seconds, a weight)."""
    return lambda node, path: float(_number(node, path, least, f"a number of at least {least:g}"))


def choice(*words: str) -> Parser:
    """One of `words`, case ignored."""

    def parse(node: Node, path: str) -> str:
        word = text(node, path).lower()
        if word not in words:
            raise wrong(node, path, " or ".join(words))
        return word

    return parse


def cache_ttl(node: Node, path: str) -> str:
    """LiteLLM's true or false (may a `ttl` go upstream?), or the ttl itself."""
    word = node.raw.strip().lower()
    if word in ("5m", "1h"):
        return word
    if word in _TRUE | _FALSE:
        return "" if word in _TRUE else "none"
    raise wrong(node, path, "true, false, 5m or 1h")


def ssl_verify(node: Node, path: str) -> bool | str:
    """true, false, or the path of a CA bundle."""
    if isinstance(node.value, str) and node.value.strip().lower() not in _TRUE | _FALSE:
        return text(node, path)
    return boolean(node, path)


def items(node: Node, path: str) -> list[tuple[str, Node]]:
    """The members of a list, each with its path; a single scalar counts as a list of one."""
    if isinstance(node.value, dict):
        raise wrong(node, path, "a list")
    if isinstance(node.value, list):
        return [(f"{path}[{i}]", child) for i, child in enumerate(node.value)]
    return [(path, node)]


def members(node: Node, path: str) -> list[tuple[str, str, Node]]:
    """The members of a mapping: key, path and node of each that is not null."""
    if not isinstance(node.value, dict):
        raise wrong(node, path, "a mapping")
    return [(key, f"{path}.{key}", child) for key in node.value if (child := node.get(key)) is not None]


def texts(node: Node, path: str) -> tuple[str, ...]:
    """Texts: a list, or one text with commas (a variable of the environment)."""
    if isinstance(node.value, str):
        return tuple(filter(None, (part.strip() for part in node.value.split(","))))
    return tuple(text(child, at) for at, child in items(node, path) if child.value is not None)


def hosts(node: Node, path: str) -> tuple[str, ...]:
    """`Host` names, each with or without a port."""
    return _each(
        node,
        path,
        lambda name: name if parse_host(name) else "",
        "a host such as a2py.lan or a2py.lan:4000 (no http://)",
    )


def origins(node: Node, path: str) -> tuple[str, ...]:
    """Origins of browsers, spelt as a browser sends them."""
    return _each(node, path, _origin, "an origin such as https://app.example or http://localhost:3000 (no path, no *)")


def _each(node: Node, path: str, spell: Callable[[str], str], expected: str) -> tuple[str, ...]:
    """The texts of a list as `spell` gives them; one that it gives "" for is wrong."""
    listed = [(path, node)] if isinstance(node.value, str) else items(node, path)
    out = []
    for at, child in listed:
        for name in texts(child, at):
            spelt = spell(name)
            if not spelt:
                raise wrong(child, at, expected)
            out.append(spelt)
    return tuple(out)


def _origin(name: str) -> str:
    """`name` as a browser writes it: in lower case, without the scheme's own port; "" if it is no origin."""
    match = _ORIGIN.fullmatch(name.lower().removesuffix("/"))
    if match is None:
        return ""
    scheme, host = match[1], match[2]
    if scheme in _PORTS and parse_host(host) is None:
        return ""
    return f"{scheme}://{host.removesuffix(_PORTS.get(scheme, '/'))}"


def mapping(node: Node, path: str) -> dict[str, Any]:
    """Any mapping, as plain values."""
    if not isinstance(node.value, dict):
        raise wrong(node, path, "a mapping")
    found: dict[str, Any] = plain(node)
    return found


def anything(node: Node, path: str) -> Any:
    return plain(node)


def text_map(node: Node, path: str) -> dict[str, str]:
    """Name → text."""
    return {key: text(child, at) for key, at, child in members(node, path)}


def headers(node: Node, path: str) -> dict[str, str]:
    """Header name → value; what would break a header line is refused."""
    out = {}
    for key, at, child in members(node, path):
        value = text(child, at)
        if not _HEADER.match(key) and not _HEADER.match(key := key.replace(" ", "-")):
            raise wrong(child, at, "a header name of letters, digits and hyphens")
        if _BREAK.search(value):
            raise wrong(child, at, "a header value without line breaks")
        if key.lower() in _FRAMING:
            raise wrong(child, at, f"a header of yours: {key} is the connection's own")
        out[key] = value
    return out


def _target(node: Node, path: str) -> str:
    if isinstance(node.value, dict):  # LiteLLM's fallback with parameters: only its model counts
        model = node.get("model")
        if model is None:
            raise wrong(node, path, "a model name, or a mapping with `model`")
        return text(model, f"{path}.model")
    return text(node, path)


def _targets(node: Node, path: str) -> tuple[str, ...]:
    listed = [(path, node)] if isinstance(node.value, dict) else items(node, path)
    return tuple(_target(child, at) for at, child in listed)


def fallbacks(node: Node, path: str) -> dict[str, tuple[str, ...]]:
    """Name → names: LiteLLM's list of mappings of one entry each, or one mapping."""
    listed = [(path, node)] if isinstance(node.value, dict) else items(node, path)
    out: dict[str, tuple[str, ...]] = {}
    for at, child in listed:
        for name, below, targets in members(child, at):
            out[name] = out.get(name, ()) + _targets(targets, below)
    return out


def names(node: Node, path: str) -> tuple[str, ...]:
    """Model names, as `default_fallbacks` lists them."""
    return _targets(node, path)


def counts(node: Node, path: str) -> dict[str, int]:
    """Word → whole number (a retry policy)."""
    count = whole(0)
    return {key: count(child, at) for key, at, child in members(node, path)}


def counts_by_name(node: Node, path: str) -> dict[str, dict[str, int]]:
    """Model name → retry policy."""
    return {key: counts(child, at) for key, at, child in members(node, path)}


def aliases(node: Node, path: str) -> dict[str, tuple[str, bool]]:
    """Alias → (target, hidden): `name: target` or `name: {model: target, hidden: true}`."""
    out = {}
    for name, at, child in members(node, path):
        hidden = child.get("hidden")
        out[name] = (_target(child, at), hidden is not None and boolean(hidden, f"{at}.hidden"))
    return out


def overrides(node: Node, path: str) -> dict[str, Mapping[str, Any]]:
    """Name or pattern → quirk fields."""
    return {key: mapping(child, at) for key, at, child in members(node, path)}


def credentials(node: Node, path: str) -> dict[str, Node]:
    """LiteLLM's `credential_list`: credential name → its values, still as nodes."""
    out = {}
    for at, child in items(node, path):
        name, values = child.get("credential_name"), child.get("credential_values")
        if name is not None and values is not None:
            members(values, f"{at}.credential_values")
            out[text(name, f"{at}.credential_name")] = values
    return out


def organizations(node: Node, path: str) -> tuple[str, ...]:
    """One organization, or a list of them (a deployment each)."""
    return tuple(text(child, at) for at, child in items(node, path) if child.value is not None)
