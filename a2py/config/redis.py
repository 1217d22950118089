"""Which Redis the processes share their limits in: `router_settings.redis_*`, and LiteLLM's variables for the rest.

LiteLLM's router uses Redis if the file names a `redis_url` or a `redis_host`, and takes what the file leaves out from
`REDIS_PORT`, `REDIS_PASSWORD`, `REDIS_USERNAME`, `REDIS_DB` and `REDIS_SSL` (its source, read 2026-11). So it is here,
with one difference: there `REDIS_URL` wins over a host of the file, here the file does.

Knows: these keys and variables, which of their values are secrets. Must not know: how Redis is used.
Invariants: a password shows in no repr and no message; a folder's `.env` does not choose where the state goes; nothing
goes to another machine without consent if nobody named the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from a2py.config import values as v
from a2py.config.bases import is_loopback
from a2py.config.error import ConfigError
from a2py.config.pairs import Pair, Use, is_file, origin_of
from a2py.config.setting_row import ROUTER, make_row
from a2py.config.tree import Node
from a2py.config.values import Parser, wrong
from a2py.config.variables import NOWHERE, Origin, Variables

#: What a file found in a folder would send away, besides passwords.
STATE = "counts of requests, lessons"
_SCHEMES = ("redis", "rediss", "unix")
#: Options of an address that its connections know, and what each must be. Those of TLS: `rediss://` only.
_OPTIONS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("db", "health_check_interval", "max_connections"), int),
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout"), float),
    **dict.fromkeys(("username", "password", "client_name", "retry_on_timeout"), str),
}
_TLS_OPTIONS = frozenset(
    f"ssl_{name}" for name in ("ca_certs", "ca_path", "certfile", "keyfile", "password", "cert_reqs", "check_hostname")
)


def _url(node: Node, path: str) -> str:
    """Return the address of a Redis."""
    text = v.text(node, path)
    try:
        parts = urlsplit(text)
        is_right = parts.scheme in _SCHEMES and bool(parts.hostname or parts.scheme == "unix") and parts.port != 0
    except ValueError:
        is_right = False
    if text and not is_right:
        raise wrong(node, path, "the address of a Redis", "Write redis://host:6379 or rediss://host:6380.")
    if text and not all(_is_option(parts.scheme, *pair) for pair in parse_qsl(parts.query)):
        options = ", ".join(_OPTIONS)
        raise wrong(
            node,
            path,
            "an address with options that are known",
            f"After `?`, there may be {options}; for rediss ssl_*.",
        )
    return text


def _is_option(scheme: str, name: str, value: str) -> bool:
    if name in _TLS_OPTIONS:
        return scheme == "rediss"
    try:
        return name in _OPTIONS and _OPTIONS[name](value) is not None
    except ValueError:
        return False


def _row(attr: str, parse: Parser, meaning: str) -> Any:
    return make_row(attr, parse, meaning, ROUTER + attr)


REDIS = (
    _row("redis_url", _url, "`redis://` or `rediss://`: limits are shared there ([redis.md](redis.md))"),
    _row("redis_host", v.text, "the same, as a host"),
    _row("redis_port", v.whole(1), "its port; also `REDIS_PORT`"),
    _row("redis_password", v.secret, "its password; also `REDIS_PASSWORD`"),
    _row("redis_username", v.text, "its user; also `REDIS_USERNAME`"),
    _row("redis_db", v.whole(0), "its database; also `REDIS_DB`"),
    _row("redis_ssl", v.boolean, "TLS; also `REDIS_SSL`"),
)
_PARSERS: dict[str, Parser] = {row.attr: row.parse for row in REDIS}


@dataclass(frozen=True)
class RedisAddress:
    """`url`: without a login if it was not written into it; `label`: scheme, host and port, for messages; `username`,
    `password`: "" for none."""

    label: str
    url: str = field(repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments of a connection, beside the URL."""
        login = {"username": self.username, "password": self.password}
        return {name: value for name, value in login.items() if value}


def read_redis(
    tree: Node, env: Variables, secret_files: Mapping[str, str], pairs: dict[Pair, Use]
) -> RedisAddress | None:
    """Return the Redis that the tree (resolved with `env`) names, None if it names none. Raise ConfigError.

    `pairs` receives what an untrusted file would send to another machine."""
    nodes = _find_nodes(tree)
    start = nodes.get("redis_url") or nodes.get("redis_host")
    if start is None:
        return None
    origins = {name: origin_of("api_key", node, env, secret_files) for name, node in nodes.items()}
    values = {name: _PARSERS[name](node, f"router_settings.{name}") for name, node in nodes.items()}
    for name, parse in _PARSERS.items():
        variable = name.upper()
        text = env.get(variable, "").strip()
        if name not in values and name not in ("redis_url", "redis_host") and text:
            values[name] = parse(Node(text, start.at, raw=text, env=variable), variable)
            origins[name] = env.origin(variable)
    address = _make_address(values)
    if not _is_here(address.url):
        _check_origin(start, address, origins)
        _collect_pairs(start, address, origins, env, pairs)
    return address


def _find_nodes(tree: Node) -> dict[str, Node]:
    """Return the keys that the file sets, by name."""
    section = tree.get("router_settings")
    nodes = {name: section.get(name) for name in _PARSERS} if section is not None else {}
    return {name: node for name, node in nodes.items() if node is not None and node.value != ""}


def _make_address(values: Mapping[str, Any]) -> RedisAddress:
    url = values.get("redis_url", "")
    if not url:
        host, scheme = values["redis_host"], "rediss" if values.get("redis_ssl") else "redis"
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        url = f"{scheme}://{host}:{values.get('redis_port', 6379)}/{values.get('redis_db', 0)}"
    parts = urlsplit(url)
    label = parts.path if parts.scheme == "unix" else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    has_login = parts.password is not None or "password" in dict(parse_qsl(parts.query))
    username = "" if has_login or parts.username else values.get("redis_username", "")
    return RedisAddress(unquote(label), url, username, "" if has_login else values.get("redis_password", ""))


def _is_here(url: str) -> bool:
    """Return whether the Redis is on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "unix" or is_loopback(parts.hostname or "")


def _check_origin(start: Node, address: RedisAddress, origins: Mapping[str, Origin]) -> None:
    """Raise ConfigError if a folder's `.env` chose the address."""
    names = [name for name in ("redis_url", "redis_host", "redis_port") if origins.get(name, NOWHERE).dotenv]
    if names:
        at = start.at
        raise ConfigError(
            f"would share what this proxy counts and learns with {address.label}, which .env chose",
            file=at.file,
            line=at.line,
            column=at.column,
            path=f"router_settings.{names[0]}",
            cure="Set the variable in the environment, or write the address into the file.",
        )


def _collect_pairs(
    start: Node, address: RedisAddress, origins: Mapping[str, Origin], env: Variables, pairs: dict[Pair, Use]
) -> None:
    place = str(start.at)
    pairs[Pair(STATE, address.label)] = Use(place, True)
    for origin in origins.values():
        for secret in origin.holds:
            pairs[Pair(secret, address.label)] = Use(place, is_file(secret) or bool(env.get(secret)))
