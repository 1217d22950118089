"""Who may read the page's data: one-time tokens, and the bearers that they are exchanged for.

`a2py ui` asks for a token with the master key. Without one it shows a secret of this user's state folder instead, which
it has written there. The browser gets the token in the part of the address that is sent to no server, and exchanges it
at once for a bearer, which lives in the page's memory.

A browser may send requests for pages of strangers. Such a page knows no bearer, so that it reads nothing. As one more
guard each request must name a host that is this proxy (DNS rebinding), and come from no other origin.

Knows: tokens, bearers, hosts, origins. Must not know: paths, what the data are, the other workers (desk.py).
Invariants: a token is valid once, for TOKEN_SECONDS; a bearer for BEARER_SECONDS, and only as long as the key is valid.
Only digests are kept, and they are compared in constant time. At most MAX_TOKENS and MAX_BEARERS, the oldest go.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from a2py.caller import ANYBODY, MASTER, Caller
from a2py.errors import ApiError
from a2py.hostname import Host, parse_host
from a2py.proxy.access import find_host, is_local_host
from a2py.proxy.services import Services

if TYPE_CHECKING:
    from a2py.config import Config

TOKEN_SECONDS, BEARER_SECONDS = 60.0, 12 * 3600.0
MAX_TOKENS, MAX_BEARERS = 64, 64
#: The header with the secret of the state folder.
SECRET_HEADER = "x-a2py-ui-secret"
#: Characters that the secret has at least, and bytes of its file that are read.
SECRET_LENGTH, SECRET_LIMIT = 32, 1024
#: What a proxy without keys says to a request without its secret, whatever key it has.
WRONG_SECRET = "This proxy has no keys: run `a2py ui` on its machine, as the user who started it"
#: Ports that a browser leaves out.
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Viewer(NamedTuple):
    """Who has opened the page. `name`: of the key, "" without keys; `stamp`: of the key, so that another one of the
    same name is not taken for it."""

    name: str
    stamp: str


class Grants:
    """Tokens or bearers of one process. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float], seconds: float, limit: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._limit = limit
        self._entries: OrderedDict[str, tuple[float, Viewer]] = OrderedDict()  # digest → end, viewer

    def issue(self, viewer: Viewer) -> str:
        """Return a new secret text for `viewer`."""
        text = secrets.token_urlsafe(32)
        self.add(digest(text), viewer, self._seconds)
        return text

    def add(self, digest: str, viewer: Viewer, seconds: float) -> None:
        """Take over one that another process has issued. `seconds`: that it is still valid."""
        self._entries[digest] = (self._clock() + min(seconds, self._seconds), viewer)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def find(self, digest: str) -> tuple[Viewer, float] | None:
        """Return who has the text of `digest`, and for how many seconds; None if nobody has."""
        end, viewer = self._entries.get(digest, (0.0, None))
        seconds = end - self._clock()
        return (viewer, seconds) if viewer is not None and seconds > 0 else None

    def redeem(self, digest: str) -> Viewer | None:
        """Return who has the text of `digest`, which is not valid any more then."""
        entry = self.find(digest)
        self._entries.pop(digest, None)
        return entry[0] if entry is not None else None


def digest(text: str) -> str:
    """Return the digest by which a token or a bearer is known. Looking it up tells nothing of the text by its time."""
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def has_keys(services: Services) -> bool:
    """Return whether the proxy asks for keys."""
    services.keys.refresh(bool(services.config.master_key))
    return bool(services.config.master_key or services.keys.rows)


def make_viewer(services: Services, caller: Caller) -> Viewer | None:
    """Return who opens the page with the key of `caller`; None if its key is not valid, or not any more."""
    name, config = caller.name, services.config
    if not name:
        return None if has_keys(services) else Viewer("", "")
    if name == MASTER.name and config.master_key:
        return Viewer(name, digest(f"a2py page\0{config.master_key}")[:16])
    for key in services.keys.rows:
        if key.caller.name != name or not key.caller.is_admin:
            continue
        if not key.is_revoked and not key.caller.is_expired(time.time()):
            return Viewer(name, key.digest.hex()[:16])
    return None


def find_caller(services: Services, viewer: Viewer) -> Caller | None:
    """Return the key with which a viewer has opened the page; None if it does not open it any more."""
    services.keys.refresh(bool(services.config.master_key))
    callers = (ANYBODY, MASTER, *(key.caller for key in services.keys.rows))
    namesakes = (one for one in callers if one.name == viewer.name)
    return next((one for one in namesakes if make_viewer(services, one) == viewer), None)


def read_bearer(headers: Mapping[str, str]) -> str:
    """Return the bearer of a request, "" if it has none."""
    kind, _, text = headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" else ""


def check_origin(services: Services, headers: Mapping[str, str], target: str) -> None:
    """Raise `ApiError` for a request that a page of another origin may have sent.

    With keys every name may be this proxy's: a page of a stranger would have to know a bearer."""
    text = find_host(target, headers)
    host = parse_host(text)
    if host is None or not (has_keys(services) or is_local_host(text) or _is_listed(host, services.config)):
        reason = "add it to `a2py: allowed_hosts`, or set a master_key"
        raise _refuse(f"The Host {text[:100]!r} is not allowed at /ui: {reason}")
    origin = headers.get("origin")
    if origin is not None and not _is_own(origin, host):
        raise _refuse(f"The Origin {origin[:100]!r} is not allowed at /ui: only its own page may ask")
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise _refuse("A page of another site may not ask at /ui")


def check_host(services: Services, headers: Mapping[str, str], target: str) -> None:
    """The same for the page itself, which has no data: a link on another site may lead to it."""
    check_origin(services, {name: headers[name] for name in ("host",) if name in headers}, target)


def _is_listed(host: Host, config: Config) -> bool:
    return any(parse_host(name) in (host, Host(host.name)) for name in config.settings.allowed_hosts)


def _is_own(origin: str, host: Host) -> bool:
    """Return whether an origin is the one under which the request has reached this proxy. A server in front may speak
    another scheme."""
    scheme, _, rest = origin.partition("://")
    own = parse_host(rest)
    if own is None or scheme not in _DEFAULT_PORTS:
        return False
    default = _DEFAULT_PORTS[scheme]
    return own.name == host.name and (own.port or default) == (host.port or default)


def _refuse(message: str) -> ApiError:
    return ApiError("permission", message, should_retry=False)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting: a named pipe would hold the thread, and with it the end of the process."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def matches_secret(path: str, candidate: str) -> bool:
    """Return whether `candidate` is the secret in the file at `path`, which only its owner may read. Raise `ApiError`
    if there is no such file."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(SECRET_LIMIT).strip()
    except OSError:
        raise ApiError("authentication", WRONG_SECRET, should_retry=False) from None
    if os.name == "posix" and mode & 0o077:
        raise ApiError("authentication", f"Others may read {path}: delete it, and run `a2py ui` again")
    if len(secret) < SECRET_LENGTH:
        raise ApiError("authentication", f"{path} holds no secret: delete it, and run `a2py ui` again")
    return hmac.compare_digest(secret, candidate.encode("utf-8", "replace"))
