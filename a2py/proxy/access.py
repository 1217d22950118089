"""Decide who may ask: by the master key and the keys of clients, or without any by the Host and the Origin.

Why the Host: a page on `evil.example` may make its own name resolve to 127.0.0.1 after it was loaded (DNS rebinding).
Then the browser takes a2py for the page's own server and lets it read answers. Such a request has the page's name in
its Host header.

Knows: the settings that decide this. Must not know: paths, bodies.
Invariants: keys are compared in constant time; `Sec-Fetch-*` is never looked at here (Node's SDK sends it); a Host that
is not valid is refused, whatever is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from a2py.caller import ANYBODY, Caller
from a2py.errors import ApiError, unknown_model
from a2py.hostname import LIMIT, Host, parse_host

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.proxy.keys import Keyring

#: Hosts that are allowed without a key. Any IP address is allowed too. No web page can be served under one of these
#: names.
LOCAL_HOSTS = frozenset({"localhost", "host.docker.internal"})
#: Headers in which a client sends its key.
KEY_HEADERS = ("x-api-key", "x-litellm-api-key", "authorization")
#: How many models of a key an error names.
MAX_NAMED = 40
_NO_KEY = (
    "This proxy requires a key: set ANTHROPIC_AUTH_TOKEN or OPENAI_API_KEY (or the SDK's api_key) to the one that you"
    " were given (`a2py keys new NAME` makes one)"
)
_NO_MASTER_KEY = (
    "This proxy requires its master_key: set ANTHROPIC_AUTH_TOKEN or OPENAI_API_KEY (or the SDK's api_key) to it"
)
#: A request target in absolute form.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


def admit(config: Config, keys: Keyring, headers: Mapping[str, str], target: str = "/") -> Caller:
    """Return who asks. Raise `ApiError` if the request is not allowed: 401 without a valid key, 403 for a Host or
    Origin of a strange web page.

    As soon as there is a key, each request must have one, also without a master key. `target`: of the request line."""
    keys.refresh(bool(config.master_key))
    if keys.rows or config.master_key:
        caller = keys.find(_list_tokens(headers), config.master_key)
        if caller is None:
            raise ApiError("authentication", _NO_KEY if keys.rows else _NO_MASTER_KEY, should_retry=False)
        return caller
    _admit_local(config, headers, target)
    return ANYBODY


def require_admin(caller: Caller) -> None:
    """Raise `ApiError` (403) for a key that may not read what concerns all keys. Without any key everybody may."""
    if caller.name and not caller.is_admin:
        raise ApiError(
            "permission",
            f"The key {caller.name} may not read this: use the master key, or a key that `a2py keys new NAME --admin`"
            " has made",
            should_retry=False,
        )


def may_ask(config: Config, caller: Caller, model: str) -> bool:
    """Return whether `caller` may ask for `model`: its list has that name, or the name of the file that it means.

    A key for `gpt-5` may ask for another spelling of it, for an alias of it, and for an unknown `claude-…` name that
    the configuration sends there. A key for an alias may ask for the alias alone. A name that only matches a pattern of
    the list (`claude-*`) is no other spelling of a model outside it (`claude-gpt-5`)."""
    if not caller.models or model in caller.models:
        return True
    own = config.find_own_name(model)
    if caller.lists(own) or (model.startswith(own) and caller.lists(model)):  # with a date or `[1m]` after it
        return True
    deployments = config.find(model)
    return bool(deployments) and all(caller.lists(one.name) for one in deployments)


def require_model(config: Config, caller: Caller, model: str) -> None:
    """Raise `ApiError` if `caller` may not ask for `model` (403), or if nobody has the name (404). Neither tells which
    other models there are."""
    if not caller.models:
        return
    own = ", ".join(caller.models[:MAX_NAMED])
    if not may_ask(config, caller, model):
        reason = (
            f"The key {caller.name} may not ask for the model {model[:100]!r}: its models are {own}."
            " Ask for one of these, or ask the owner of this proxy to allow it (`models` in keys.yaml)"
        )
        raise ApiError("permission", reason, should_retry=False)
    if not config.serves(model):
        raise unknown_model(f"model: {model[:100]} is not served here; the key {caller.name} is for {own}")


def _admit_local(config: Config, headers: Mapping[str, str], target: str) -> None:
    """Raise `ApiError` for a Host or an Origin that is neither local nor in the configuration's lists."""
    settings = config.settings
    host = find_host(target, headers)
    if host and not is_local_host(host) and not _is_listed(host, settings.allowed_hosts):
        raise ApiError(
            "permission",
            f"The Host {host[:100]!r} is not allowed: add it to `a2py: allowed_hosts`, or set a master_key",
            should_retry=False,
        )
    origin = headers.get("origin")
    if origin is not None and origin not in settings.allowed_origins:
        raise ApiError(
            "permission",
            f"The Origin {origin[:100]!r} is not allowed: add it to `a2py: allowed_origins`, or set a master_key",
            should_retry=False,
        )


def _list_tokens(headers: Mapping[str, str]) -> list[str]:
    """Return the keys that a client sends: in `x-api-key`, `authorization` or LiteLLM's `x-litellm-api-key`, which may
    say `Bearer`."""
    tokens = [headers.get("x-api-key", "")]
    own = headers.get("x-litellm-api-key", "").strip()
    tokens.append(own[7:].strip() if own[:7].lower() == "bearer " else own)
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        tokens.append(token.strip())
    return [token for token in tokens if token]


def find_host(target: str, headers: Mapping[str, str]) -> str:
    """Return the host that a request names, "?" if it is empty.

    With a target in absolute form (`GET http://host/path`) the `Host` header is ignored (RFC 9112, 3.2.2)."""
    absolute = _ABSOLUTE.match(target)
    return headers.get("host", "") if absolute is None else absolute[1] or "?"


def _is_listed(text: str, hosts: tuple[str, ...]) -> bool:
    """Return whether a Host is in the list, with its port or without."""
    host = parse_host(text)
    return host is not None and any(parse_host(name) in (host, Host(host.name)) for name in hosts)


def is_local_host(text: str) -> bool:
    """Return whether a Host is an IP address, or a name that only this machine can have."""
    return len(text) <= LIMIT and _is_local(text)  # the cache below must not keep long texts


@lru_cache(64)
def _is_local(text: str) -> bool:
    host = parse_host(text)
    return host is not None and (host.name in LOCAL_HOSTS or host.is_address)
