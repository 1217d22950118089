"""Parsers: one node of the file → one typed value.

Knows: kinds of values, and how a wrong one is reported. Must not know: which key holds which kind.
Invariants: a parser returns its type or raises ConfigError; numbers and booleans may be text, because a variable of the
environment always is; an error shows a text of the file only if `quote_text` allows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from a2py.config.error import ConfigError
from a2py.config.tree import Mark, Node, plain
from a2py.hostname import parse_host
from a2py.prices import Price, find_mistake, is_price_key, read_price

Parser = Callable[[Node, str], Any]

_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_BREAK = re.compile(r"[\r\n\0]")
#: A browser's origin. Extensions and applications have some, too: `chrome-extension://…`, `app://obsidian.md`.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@*,\\]+)")
#: Schemes of the web, with the port that their origins leave out.
_PORTS = {"http": ":80", "https": ":443"}
#: Headers of the connection. With another value the request would hang, or its end would be misread (RFC 9112 §6).
_FRAMING = frozenset(
    ("connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
#: Longest text of the file in a message.
_MAX_QUOTED = 40
#: What may be a secret: the beginning of a key, a URL with a login or a query, or letters and digits without a break.
_MAY_BE_SECRET = re.compile(
    r"\b(?:sk|pk)-|[@?]|[^ -~]|(?=[\w+-]*[0-9])(?=[\w+-]*[a-z])[\w+-]{16,}", re.IGNORECASE | re.ASCII
)


def quote_text(text: str) -> str:
    """Return `text` in quotes for a message, or the word "text" if it is long or may be a secret."""
    return "text" if len(text) > _MAX_QUOTED or _MAY_BE_SECRET.search(text) else f"'{text}'"


def fail(at: Mark, path: str, message: str, cure: str) -> ConfigError:
    """Return the error of the key `path` at the place `at`."""
    return ConfigError(message, file=at.file, line=at.line, column=at.column, path=path, cure=cure)


def wrong(node: Node, path: str, expected: str, cure: str, *, is_public: bool = False) -> ConfigError:
    """Return the error of a value that is not what its key needs. `is_public`: no secret belongs into this key."""
    message = f"{'' if path else 'the file '}must be {expected}, got {_describe(node, is_public)}"
    return fail(node.at, path, message, cure)


def _describe(node: Node, is_public: bool) -> str:
    value = node.value
    if node.env:
        return f"the value of ${node.env}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote_text(value) if is_public else "text"
    if isinstance(value, (int, float)):
        return f"{value}"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "nothing"


_MAPPING_CURE = "Write one `key: value` a line, indented below it."


def _write(path: str, example: str) -> str:
    """Return the cure: the key with an example of its value."""
    key = path.rpartition(".")[2]
    return f"Write `- {example}`." if key.endswith("]") else f"Write `{key}: {example}`."


def text(node: Node, path: str) -> str:
    if isinstance(node.value, (dict, list)):
        raise wrong(node, path, "text", "Write one word, or a text in quotes.")
    return node.raw.strip()


def secret(node: Node, path: str) -> str:
    """Parse a key or a password. A number is one as it is written; true and false are a mistake."""
    if isinstance(node.value, bool):
        raise wrong(node, path, "text", "Write the key, in quotes if it is this word.")
    return text(node, path)


def proxy(node: Node, path: str) -> str:
    """Return the address of an HTTP proxy."""
    value = text(node, path)
    if value and not re.match(r"https?://[^\s/]+/?\Z", value):
        cure = "Write http://host:port. (SOCKS proxies are not supported.)"
        raise wrong(node, path, "the address of an HTTP proxy", cure)
    return value


def boolean(node: Node, path: str) -> bool:
    if isinstance(node.value, bool):
        return node.value
    word = node.raw.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise wrong(node, path, "true or false", _write(path, "true"), is_public=True)


def _number(node: Node, path: str, least: float, expected: str, most: float = float("inf")) -> float:
    value, cure = node.value, _write(path, f"{max(least, 1):g}")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise wrong(node, path, expected, cure, is_public=True) from None
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not least <= value <= most
        or value == float("inf")
    ):
        raise wrong(node, path, expected, cure, is_public=True)
    return value


def whole(least: int = 0) -> Parser:
    """Return the parser of a whole number of at least `least`."""
    expected = f"a whole number of at least {least}"

    def parse(node: Node, path: str) -> int:
        value = _number(node, path, least, expected)
        if value != int(value):
            raise wrong(node, path, expected, _write(path, f"{int(value)}"), is_public=True)
        return int(value)

    return parse


def number(least: float = 0, most: float = float("inf")) -> Parser:
    """Return the parser of a number of at least `least` (seconds, a weight) and at most `most`."""
    expected = f"a number of at least {least:g}" if most == float("inf") else f"a number from {least:g} to {most:g}"
    return lambda node, path: float(_number(node, path, least, expected, most))


def choice(*words: str) -> Parser:
    """Return the parser of one of `words`, in any case."""

    def parse(node: Node, path: str) -> str:
        word = text(node, path).lower()
        if word not in words:
            raise wrong(node, path, " or ".join(words), _write(path, words[0]), is_public=True)
        return word

    return parse


def page(node: Node, path: str) -> bool | str:
    """Parse true, false, or `record`."""
    if isinstance(node.value, str) and node.value.strip().lower() == "record":
        return "record"
    if isinstance(node.value, bool) or (isinstance(node.value, str) and node.value.strip().lower() in _TRUE | _FALSE):
        return boolean(node, path)
    raise wrong(node, path, "true, false or record", _write(path, "record"), is_public=True)


def cache_ttl(node: Node, path: str) -> str:
    """Parse LiteLLM's true or false (may a `ttl` go upstream?), or the ttl itself."""
    word = node.raw.strip().lower()
    if word in ("5m", "1h"):
        return word
    if word in _TRUE | _FALSE:
        return "" if word in _TRUE else "none"
    raise wrong(node, path, "true, false, 5m or 1h", _write(path, "5m"), is_public=True)


def switch_or_path(node: Node, path: str) -> bool | str:
    """Parse true, false, or the path of a file."""
    if isinstance(node.value, str) and node.value.strip().lower() not in _TRUE | _FALSE:
        return text(node, path)
    return boolean(node, path)


def prices(node: Node, path: str) -> dict[str, Price]:
    """Parse name or pattern → LiteLLM's prices."""
    out, amount = {}, number(0)
    for name, at, child in members(node, path):
        values = {}
        for key, below, price in members(child, at):
            if not is_price_key(key):
                cure = f"Write `{find_mistake(key) or 'input_cost_per_token'}`."
                raise wrong(price, below, "one of LiteLLM's prices by the token", cure)
            values[key] = amount(price, below)
        entry = read_price(values)
        if entry is not None:
            out[name] = entry
    return out


def items(node: Node, path: str) -> list[tuple[str, Node]]:
    """Return the members of a list, each with its path. A single scalar is a list of one."""
    if isinstance(node.value, dict):
        raise wrong(node, path, "a list", "Begin each item with `- `.")
    if isinstance(node.value, list):
        return [(f"{path}[{i}]", child) for i, child in enumerate(node.value)]
    return [(path, node)]


def members(node: Node, path: str) -> list[tuple[str, str, Node]]:
    """Return the members of a mapping that are not null: key, path and node."""
    if not isinstance(node.value, dict):
        raise wrong(node, path, "a mapping", _MAPPING_CURE)
    return [(key, f"{path}.{key}", child) for key in node.value if (child := node.get(key)) is not None]


def texts(node: Node, path: str) -> tuple[str, ...]:
    """Parse texts: a list, or one text with commas (a variable of the environment)."""
    if isinstance(node.value, str):
        return tuple(filter(None, (part.strip() for part in node.value.split(","))))
    return tuple(text(child, at) for at, child in items(node, path) if child.value is not None)


def hosts(node: Node, path: str) -> tuple[str, ...]:
    """Parse `Host` names, each with or without a port."""

    def spell(name: str) -> str:
        return name if parse_host(name) else ""

    return _each(node, path, spell, "a host without http://", "a2py.lan:4000")


def origins(node: Node, path: str) -> tuple[str, ...]:
    """Parse origins of browsers, spelt as a browser sends them."""
    return _each(node, path, _origin, "an origin without a path and without *", "https://app.example")


def _each(node: Node, path: str, spell: Callable[[str], str], expected: str, example: str) -> tuple[str, ...]:
    """Return `spell(text)` of each text of a list. A text for which it returns "" is wrong."""
    nodes = [(path, node)] if isinstance(node.value, str) else items(node, path)
    out = []
    for at, child in nodes:
        for name in texts(child, at):
            spelling = spell(name)
            if not spelling:
                raise wrong(child, at, expected, _write(at, example), is_public=True)
            out.append(spelling)
    return tuple(out)


def _origin(name: str) -> str:
    """Return `name` as a browser writes it: in lower case, without the scheme's own port; "" if it is no origin."""
    match = _ORIGIN.fullmatch(name.lower().removesuffix("/"))
    if match is None:
        return ""
    scheme, host = match[1], match[2]
    if scheme in _PORTS and parse_host(host) is None:
        return ""
    return f"{scheme}://{host.removesuffix(_PORTS.get(scheme, '/'))}"


def mapping(node: Node, path: str) -> dict[str, Any]:
    """Parse any mapping into plain values."""
    if not isinstance(node.value, dict):
        raise wrong(node, path, "a mapping", _MAPPING_CURE)
    return {key: plain(child) for key, child in node.value.items()}


def anything(node: Node, path: str) -> Any:
    return plain(node)


def variable_map(node: Node, path: str) -> dict[str, str]:
    """Parse variable → text. A mapping or a list becomes its JSON, which is how programs read such a variable."""
    out = {}
    for key, at, child in members(node, path):
        is_text = not isinstance(child.value, (dict, list))
        out[key] = text(child, at) if is_text else json.dumps(plain(child), ensure_ascii=False)
    return out


def drop_list(node: Node, path: str) -> tuple[str, ...]:
    """Parse LiteLLM's `drop_params`: a list names upstream fields; true and false say nothing, because a2py always
    leaves out what an upstream does not accept."""
    return texts(node, path) if isinstance(node.value, list) else ()


def enforcement(node: Node, path: str) -> bool:
    """Parse true or false, or LiteLLM's list of checks, in which `enforce_model_rate_limits` means true."""
    if isinstance(node.value, list):
        return "enforce_model_rate_limits" in texts(node, path)
    return boolean(node, path)


def headers(node: Node, path: str) -> dict[str, str]:
    """Parse header name → value. Reject what would break a header line."""
    out = {}
    for key, at, child in members(node, path):
        value = text(child, at)
        if not _HEADER.match(key) and not _HEADER.match(key := key.replace(" ", "-")):
            raise wrong(child, at, "under a header name of letters, digits and hyphens", "Write `X-Name: value`.")
        if _BREAK.search(value):
            raise wrong(child, at, "a header value without line breaks", "Write it on one line, in quotes.")
        if key.lower() in _FRAMING:
            cure = f"Remove it: the connection sets {key} itself."
            raise wrong(child, at, "a header that may be set", cure)
        out[key] = value
    return out


def _target(node: Node, path: str) -> str:
    if isinstance(node.value, dict):  # LiteLLM's fallback with parameters: only its model is used
        model = node.get("model")
        if model is None:
            raise wrong(node, path, "a model name, or a mapping with `model`", "Write `model: NAME` in it.")
        return text(model, f"{path}.model")
    return text(node, path)


def _targets(node: Node, path: str) -> tuple[str, ...]:
    nodes = [(path, node)] if isinstance(node.value, dict) else items(node, path)
    return tuple(_target(child, at) for at, child in nodes)


def fallbacks(node: Node, path: str) -> dict[str, tuple[str, ...]]:
    """Parse name → names: LiteLLM's list of mappings of one entry each, or one mapping."""
    nodes = [(path, node)] if isinstance(node.value, dict) else items(node, path)
    out: dict[str, tuple[str, ...]] = {}
    for at, child in nodes:
        for name, below, targets in members(child, at):
            out[name] = out.get(name, ()) + _targets(targets, below)
    return out


def names(node: Node, path: str) -> tuple[str, ...]:
    """Parse model names, as `default_fallbacks` lists them."""
    return _targets(node, path)


def counts(node: Node, path: str) -> dict[str, int]:
    """Parse word → whole number (a retry policy)."""
    count = whole(0)
    return {key: count(child, at) for key, at, child in members(node, path)}


def counts_by_name(node: Node, path: str) -> dict[str, dict[str, int]]:
    """Parse model name → retry policy."""
    return {key: counts(child, at) for key, at, child in members(node, path)}


def aliases(node: Node, path: str) -> dict[str, tuple[str, bool]]:
    """Parse alias → (target, hidden): `name: target` or `name: {model: target, hidden: true}`."""
    out = {}
    for name, at, child in members(node, path):
        flag = child.get("hidden")
        out[name] = (_target(child, at), flag is not None and boolean(flag, f"{at}.hidden"))
    return out


def overrides(node: Node, path: str) -> dict[str, Mapping[str, Any]]:
    """Parse name or pattern → quirk fields."""
    return {key: mapping(child, at) for key, at, child in members(node, path)}


def credentials(node: Node, path: str) -> dict[str, Node]:
    """Parse LiteLLM's `credential_list`: credential name → its values, still as nodes."""
    out = {}
    for at, child in items(node, path):
        name, values = child.get("credential_name"), child.get("credential_values")
        if name is not None and values is not None:
            members(values, f"{at}.credential_values")
            out[text(name, f"{at}.credential_name")] = values
    return out


def organizations(node: Node, path: str) -> tuple[str, ...]:
    """Parse one organization, or a list of them (a deployment each)."""
    return tuple(text(child, at) for at, child in items(node, path) if child.value is not None)
