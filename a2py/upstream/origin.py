"""An address as a client needs it: where to connect, what to ask for, by which proxy.

Knows: URLs, the environment's proxy variables. Must not know: sockets.
Invariants: a proxy that is configured but can't be used is an error, never a direct connection; addresses of this
machine are never reached through a proxy.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from a2py.upstream.failure import Failure

PORTS = {"http": 80, "https": 443}
#: Host names of this machine.
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Origin(NamedTuple):
    """A server. `host` has no brackets and is ASCII."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Value of the Host header: with the port only if it is not the scheme's default, without an IPv6 zone."""
        return self.bare_authority if self.port == PORTS[self.scheme] else f"{self.bare_authority}:{self.port}"

    @property
    def bare_authority(self) -> str:
        return f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host


class Target(NamedTuple):
    """A URL taken apart. `path`: with its query, as it goes into the request line; `basic`: the value of an
    Authorization header that the URL's user and password stand for, "" without them."""

    origin: Origin
    path: str
    basic: str = ""


class ProxyServer(NamedTuple):
    """A proxy of the environment. `basic`: value of `Proxy-Authorization`, "" without a login."""

    origin: Origin
    basic: str = ""


@lru_cache(256)
def parse(url: str) -> Target:
    """Return the parts of a URL. Raises `Failure` (connect) if it is not an http or https URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme not in PORTS or not host:
            raise ValueError
        origin = Origin(parts.scheme, _ascii_host(host), PORTS[parts.scheme] if port is None else port)
    except ValueError:
        raise Failure("connect", "its address is no valid URL") from None
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._[]")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]{}|\\^`\"<>")
    return Target(origin, path, _basic(parts.username, parts.password))


def _ascii_host(host: str) -> str:
    """Return a host in lower case, an international name in its ASCII form (IDNA). Raises ValueError if it is no host
    name."""
    try:
        address, percent, zone = host.partition("%")
        return str(ip_address(address)) + percent + zone.removeprefix("25")  # a URL may write the % as %25 (RFC 6874)
    except ValueError:
        pass
    if not host.isascii():
        try:
            from idna import IDNAError, encode  # a dependency of aiohttp's, by way of yarl

            try:
                host = encode(host, uts46=True).decode()
            except IDNAError as error:
                raise ValueError from error
        except ImportError:  # pragma: no cover
            host = host.encode("idna").decode()
    if not host.replace("-", "").replace(".", "").replace("_", "").isalnum() or len(host) > 253:
        raise ValueError
    return host


def _basic(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()


def environment_proxy(origin: Origin, own: str = "") -> ProxyServer | None:
    """Return the proxy for `origin` that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names, None if there is none or NO_PROXY
    excludes the host. `own`: a proxy that is used in place of theirs.

    Raises `Failure` if the proxy is of a kind that is not supported."""
    if is_local(origin.host):
        return None
    table = getproxies()
    url = own or table.get(origin.scheme) or table.get("all")
    if not url or proxy_bypass(origin.host) or proxy_bypass(f"{origin.bare_authority}:{origin.port}"):
        return None
    if "://" not in url:
        url = f"http://{url}"
    scheme = url.partition("://")[0].lower()
    if scheme not in PORTS:
        raise Failure("proxy", f"it is a {scheme[:10]} proxy, and only http and https proxies are supported")
    try:
        target = parse(url)
    except Failure:
        raise Failure("proxy", "its address is no valid URL") from None
    return ProxyServer(target.origin, target.basic)


def is_local(host: str) -> bool:
    """Return whether `host` is this machine, by its name or its address."""
    host = host.rstrip(".")
    if host in _LOCAL:
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    ipv4 = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (ipv4 or address).is_loopback or (ipv4 or address).is_unspecified
