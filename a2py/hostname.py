"""Parse the name and port of an HTTP authority strictly.

Who may ask without a master key is decided by the `Host` of a request. A parser that only looks for the last colon, or
for a closing bracket, takes `localhost:80@evil.com` and `[::1].evil.com` for this machine.

Knows: RFC 9112, 3.2 (`Host = uri-host [ ":" port ]`) and RFC 3986, 3.2.2.
Must not know: which names are allowed.
Invariants: a text that is not exactly a host with an optional port is None, never a part of it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

#: Longest host (RFC 1035) with a port.
LIMIT = 255 + 6
_AUTHORITY = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)(?:%(?:25)?[0-9A-Za-z._~-]+)?\]|(?P<name>[0-9A-Za-z_-][0-9A-Za-z._-]*))"
    r"(?::(?P<port>[0-9]{0,5}))?"
)


class Host(NamedTuple):
    """`name`: in lower case, an IPv6 address without brackets and zone, a name without its final dot; `port`: "" if
    none is given."""

    name: str
    port: str = ""

    @property
    def is_address(self) -> bool:
        """Whether the name is an IP address."""
        return _address(self.name) is not None


def parse_host(text: str) -> Host | None:
    """Return the parts of `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; None if `text` is anything else.

    An IPv6 address without brackets, which some programs send, is taken if it is the whole text."""
    if len(text) > LIMIT:
        return None
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return Host(text.lower()) if ":" in text and "%" not in text and _address(text) is not None else None
    port = match["port"] or ""
    if int(port or 0) > 65535:
        return None
    if match["six"] is None:
        return Host(match["name"].lower().removesuffix("."), port)
    address = _address(match["six"])
    return Host(match["six"].lower(), port) if address is not None and address.version == 6 else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
