"""A deployment: one server that answers for one model name.

Configuration, provider table and quirks are combined here.

Knows: plain values. Must not know: files, the environment, sockets.
Invariants: frozen; keys and headers never show in its repr.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from a2py.prices import Price
from a2py.quirks import Quirks

#: Names of headers, query parameters and body fields whose values are secrets (`max_tokens` is not). Values shorter
#: than _SHORT are not treated as secrets, because ordinary words would be removed from messages.
_SECRET, _SHORT = re.compile(r"key|token(?!s)|secret|password|auth|cookie|credential|signature", re.IGNORECASE), 4


#: Values of `mode` of a model that writes text (docs.litellm.ai, 2026-10), and of one that does not.
CHAT_MODES = frozenset(("", "chat", "completion", "responses"))
OTHER_MODES = frozenset(
    (
        *("embedding", "moderation", "rerank", "audio_transcription", "audio_speech", "image_generation"),
        "image_edit",
    )
)
#: Those of them whose answers have no output tokens. Images and audio may have some: gpt-image-1 and gpt-4o-transcribe
#: report `output_tokens` (OpenAI's API reference, 2026-11).
NO_OUTPUT_MODES = frozenset(("embedding", "moderation", "rerank"))


def is_secret_name(name: str) -> bool:
    """Return whether a header, parameter or field of this name holds a secret."""
    return _SECRET.search(name) is not None


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string of a JSON value, with the nearest name above it."""
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
    """`name`: the model_name of the configuration; `model`: the upstream's own id; `base`: API base without a trailing
    slash; `auth`: how the key travels (`bearer`, `x-api-key`, `api-key`, `none`); `params`: request fields that the
    configuration sets (temperature, max_tokens, reasoning_effort, …). They are defaults: the client's own value wins.
    `problem`: why it can't work, and what to do; `mode`: `model_info: mode` of LiteLLM, "" if the file does not say."""

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
    query: str = field(
        default="", repr=False
    )  #: URL query of every request, without the question mark (Azure's api-version)
    path: str = ""  #: path below base, "" for the wire's usual one
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    params: Mapping[str, Any] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()  #: additional_drop_params
    allow: frozenset[str] = frozenset()  #: allowed_openai_params: sent although the provider's row leaves them out
    cache_control_ttl: str = ""  #: of every cache_control sent upstream: `5m`, `1h`, `none`; "": the client's own
    problem: str = ""
    mode: str = ""
    # limits of the model that the configuration sets; 0: unknown
    max_input_tokens: int = 0
    max_output_tokens: int = 0
    # routing
    weight: float = 1.0
    order: int = 0
    rpm: int = 0
    tpm: int = 0
    max_parallel: int = 0
    name_parallel: int = 0  #: requests at a time to `group`
    slots: int = 0  #: requests at a time that the server at `base` says it answers; counts without a `max_parallel`
    group: str = ""  #: the model_name of the file, if `name` is a model of its wildcard
    seat: str = ""  #: tells the deployment from others of its name, also after a reload; "": `id` does (affinity.py)
    timeout: float = 0.0  #: seconds for a whole unary reply; 0: the server's default
    stream_timeout: float = 0.0  #: seconds of silence in a stream
    retries: int = -1
    ssl_verify: bool | str = True
    wire_fixed: bool = False  #: the configuration chose the wire: nothing learned changes it
    keepalive: float = 0.0  #: seconds of silence before a ping; 0: the server's
    # where it comes from
    base_model: str = ""  #: model_info.base_model: quirks are chosen by it
    #: quirk fields that the configuration sets for this deployment
    overrides: Mapping[str, Any] = field(default_factory=dict)
    #: quirk fields that the configuration has set, here or by a pattern: nothing that is learned changes them
    fixed_quirks: frozenset[str] = frozenset()
    source: str = ""  #: file and line
    price: Price | None = None  #: that the configuration sets; None: the list price, if there is one
    account: str = ""  #: digest of address and key (`digest_account`): state that a vendor keeps for one account

    @property
    def is_chat(self) -> bool:
        """Whether the model writes text, so that it can answer /v1/messages."""
        return self.mode in CHAT_MODES

    @property
    def has_output(self) -> bool:
        """Whether its answers may have output tokens."""
        return self.mode not in NO_OUTPUT_MODES

    @property
    def origin(self) -> str:
        """Who made a reply, `wire:provider:model@account`. Signatures carry it: thinking of another model is not sent
        back, and vendor state of another account neither."""
        model = f"{self.wire}:{self.provider}:{self.model}"
        return f"{model}@{self.account}" if self.account else model

    @property
    def address(self) -> str:
        """Where the upstream answers, for messages: `host` or `host:port` of `base`, without scheme, login and path.

        The port is there only if `base` has one. The provider's name if `base` is no URL with a host."""
        try:
            parts = urlsplit(self.base)
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is no number, an IPv6 address without its closing bracket
            return self.provider
        if not host:
            return self.provider
        name = f"[{host}]" if ":" in host else host
        return name if port is None else f"{name}:{port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message and no capture may repeat: the key, and values in headers, query and body whose names say
        that they are secret."""
        fields = (*self.headers.items(), *parse_qsl(self.query), *_texts(self.extra_body))
        values = [value for name, value in fields if is_secret_name(name)]
        bare = [value.partition(" ")[2].strip() for value in values]  # without "Bearer"
        logins = [_password(value) for value in values]
        return tuple(value for value in (self.key, *values, *bare, *logins) if len(value) >= _SHORT)


def _password(header: str) -> str:
    """Return the password of a `Basic` login; "" if the header is not one."""
    kind, _, pair = header.partition(" ")
    if kind.lower() != "basic":
        return ""
    try:
        return b64decode(pair, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def digest_account(base: str, key: str) -> str:
    """Return a short digest that tells accounts apart: two keys at one address, or two addresses.

    32 bits are too few to say which key it was, and enough that two accounts of one file do not meet."""
    return sha256(f"{base}\0{key}".encode()).hexdigest()[:8]


def is_same_model(origin: str, other: str) -> bool:
    """Return whether two origins are one model by one wire, whatever the account."""
    return origin.partition("@")[0] == other.partition("@")[0]
