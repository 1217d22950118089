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
from difflib import get_close_matches
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from a2py.config import values as v
from a2py.config.bases import is_loopback
from a2py.config.certificates import CURE, FILE_CURE, find_file_problem
from a2py.config.error import ConfigError
from a2py.config.pairs import Pair, Use, is_file, origin_of
from a2py.config.setting_row import ROUTER, make_row
from a2py.config.tree import Node
from a2py.config.values import Parser, fail, wrong
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
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
#: Values of `ssl_cert_reqs`.
_CERT_REQS = "required, optional, none"


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
    if text:
        _check_database(parts, node, path)
        _check_options(parts, node, path)
    return text


def _check_database(parts: SplitResult, node: Node, path: str) -> None:
    """Raise ConfigError if the path is no database. The connection would take database 0 instead."""
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not (database.isascii() and database.isdigit()):
        raise fail(node.at, path, "has a path that is no database", "Write its number: redis://host:6379/0.")


def _check_options(parts: SplitResult, node: Node, path: str) -> None:
    """Raise ConfigError if there is an option that no connection knows, or one with a value of the wrong kind."""
    for name, value in parse_qsl(parts.query):
        if _is_option(parts.scheme, name, value):
            if name in _FILES:
                _check_file(name, value, node, path)
            continue
        if name == "ssl_cert_reqs" and parts.scheme == "rediss":
            raise fail(node.at, path, f"has an option `{name}` that is none of its words", f"Write {_CERT_REQS}.")
        if name in _OPTIONS:
            kind = "a number" if _OPTIONS[name] is float else "a whole number"
            raise fail(node.at, path, f"has an option `{name}` that is not {kind}", f"Write `?{name}=1`, or remove it.")
        if name in _TLS_OPTIONS:
            cure = f"Write rediss:// before the host, or remove `{name}`."
            raise fail(node.at, path, f"has an option `{name}`, which is for TLS alone", cure)
        near = get_close_matches(name, (*_OPTIONS, *_TLS_OPTIONS), 1, 0.7)
        hint = f"Did you mean `{near[0]}`?" if near else f"There may be {', '.join(_OPTIONS)}; for rediss ssl_*."
        what = f"an option `{name}`" if name.isidentifier() and "@" not in parts.query else "an option"
        raise fail(node.at, path, f"has {what} that is unknown", hint)


def _check_file(name: str, value: str, node: Node, path: str) -> None:
    may_be_folder = name == "ssl_ca_path"
    problem = find_file_problem(value, may_be_folder=may_be_folder)
    if problem:
        cure = CURE if may_be_folder else FILE_CURE
        raise fail(node.at, path, f"has an option `{name}` that {problem}", cure)


def _is_option(scheme: str, name: str, value: str) -> bool:
    if name in _TLS_OPTIONS:
        return scheme == "rediss" and (name != "ssl_cert_reqs" or value in _CERT_REQS.split(", "))
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
    `password`: "" for none; `keys`: part of the address → the key or variable that set it."""

    label: str
    url: str = field(repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

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
    keys = {name: f"router_settings.{name}" for name in _PARSERS}
    for name, parse in _PARSERS.items():
        variable = name.upper()
        text = env.get(variable, "").strip()
        if name not in values and name not in ("redis_url", "redis_host") and text:
            values[name] = parse(Node(text, start.at, raw=text, env=variable), variable)
            origins[name] = env.origin(variable)
            keys[name] = variable
    address = _make_address(values, keys)
    if not _is_here(address.url):
        _check_origin(start, address, origins)
        _collect_pairs(start, address, origins, env, pairs)
    return address


def _find_nodes(tree: Node) -> dict[str, Node]:
    """Return the keys that the file sets, by name."""
    section = tree.get("router_settings")
    nodes = {name: section.get(name) for name in _PARSERS} if section is not None else {}
    return {name: node for name, node in nodes.items() if node is not None and node.value != ""}


def _make_address(values: Mapping[str, Any], keys: Mapping[str, str]) -> RedisAddress:
    """Return the address. `keys`: name of a setting → the key or variable that sets it."""
    url = values.get("redis_url", "")
    if not url:
        host, scheme = values["redis_host"], "rediss" if values.get("redis_ssl") else "redis"
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        url = f"{scheme}://{host}:{values.get('redis_port', 6379)}/{values.get('redis_db', 0)}"
    parts = urlsplit(url)
    label = parts.path if parts.scheme == "unix" else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    has_login = parts.password is not None or "password" in dict(parse_qsl(parts.query))
    username = "" if has_login or parts.username else values.get("redis_username", "")
    password = "" if has_login else values.get("redis_password", "")
    return RedisAddress(unquote(label), url, username, password, _find_keys(values, keys, parts, has_login))


def _find_keys(
    values: Mapping[str, Any], keys: Mapping[str, str], parts: SplitResult, has_login: bool
) -> dict[str, str]:
    """Return part of the address → the key to correct. All parts are in the URL, if there is one, except the login."""
    own = () if has_login else ("password",) if parts.username else ("password", "username")
    by_part = {name.removeprefix("redis_"): key for name, key in keys.items()}
    if "redis_url" not in values:
        return by_part
    return {part: key if part in own else keys["redis_url"] for part, key in by_part.items()}


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
