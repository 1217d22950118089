"""One place where a model can be asked: what the configuration, the provider table and the quirks say of it, put together.

Knows: plain values. Must not know: files, the environment, sockets.
Invariants: frozen; keys and headers never show in its repr.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from a2py.quirks import Quirks

#: Names of headers, query parameters and body fields whose values are secrets (`max_tokens` is none); shorter values would eat ordinary words.
_SECRET, _SHORT = re.compile(r"key|token(?!s)|secret|password|auth|cookie|credential|signature", re.IGNORECASE), 4


def telling(name: str) -> bool:
    """Whether what goes by this name is a secret."""
    return _SECRET.search(name) is not None


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a JSON value, with the name that is nearest above it."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, str(key))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner, name)


@dataclass(frozen=True, slots=True)
class Deployment:
    """`name`: the model_name of the configuration; `model`: the upstream's own id; `base`: API base without a trailing slash;
    `auth`: how the key travels (`bearer`, `x-api-key`, `api-key`, `none`); `params`: request fields that the configuration sets
    (temperature, max_tokens, reasoning_effort, …: defaults, the client's own value wins); `problem`: why it can't work, with the cure."""

    name: str
    id: str
    provider: str
    model: str
    base: str
    key: str = field(default="", repr=False)
    auth: str = "bearer"
    wire: str = "chat"
    quirks: Quirks = field(default_factory=Quirks)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: str = field(default="", repr=False)  #: URL query of every request, without the question mark (Azure's api-version)
    path: str = ""  #: path below base, where it is not the wire's usual one
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    params: Mapping[str, Any] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()  #: additional_drop_params
    allow: frozenset[str] = frozenset()  #: allowed_openai_params: sent although the provider's row leaves them out
    drop_params: bool = False  #: LiteLLM's drop_params (here what is not taken is always dropped)
    cache_control_ttl: str = ""  #: of every cache_control sent upstream: `5m`, `1h`, `none`; "": the client's own
    problem: str = ""
    # limits known from the configuration; 0: unknown
    max_input_tokens: int = 0
    max_output_tokens: int = 0
    # routing
    weight: float = 1.0
    order: int = 0
    rpm: int = 0
    tpm: int = 0
    max_parallel: int = 0
    timeout: float = 0.0  #: seconds for a whole unary reply; 0: the server's default
    stream_timeout: float = 0.0  #: seconds of silence in a stream
    retries: int = -1
    ssl_verify: bool | str = True
    wire_fixed: bool = False  #: the configuration chose the wire: nothing learned changes it
    keepalive: float = 0.0  #: seconds of silence before a ping; 0: the server's
    # where it comes from
    base_model: str = ""  #: model_info.base_model: quirks are chosen by it
    overrides: Mapping[str, Any] = field(default_factory=dict)  #: quirk fields that the configuration sets for this deployment
    fixed: frozenset[str] = frozenset()  #: quirk fields that the configuration has set, here or by a pattern: nothing learned changes them
    source: str = ""  #: file and line

    @property
    def origin(self) -> str:
        """Who made a reply; a signature envelope carries it, and another origin's thinking is not replayed."""
        return f"{self.wire}:{self.provider}:{self.model}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message and no capture may repeat: the key, and what goes with it in headers, query and body under a telling name."""
        sent = (*self.headers.items(), *parse_qsl(self.query), *_texts(self.extra_body))
        named = [value for name, value in sent if telling(name)]
        bare = [value.partition(" ")[2].strip() for value in named]  # without "Bearer"
        logins = [_password(value) for value in named]
        return tuple(value for value in (self.key, *named, *bare, *logins) if len(value) >= _SHORT)


def _password(header: str) -> str:
    """The password of a `Basic` login; "" if it is none."""
    kind, _, pair = header.partition(" ")
    if kind.lower() != "basic":
        return ""
    try:
        return b64decode(pair, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
