"""aiohttp and asyncio without what this proxy does not need: certificates of a TLS context of aiohttp's own, its application framework, large
reads, reference cycles.

Knows: `ssl.create_default_context`, the `max_size` and the bound methods of asyncio's transports. Must not know: what is done with aiohttp.
Invariants: the context that aiohttp keeps trusts nobody (it can only refuse): who speaks TLS passes one of `trusting`; the standard library
is as it was once this module is imported.

Why: reading the system's 140 certificates takes 35 ms of CPU and 1.9 MiB, at each start, also where every upstream is on this machine.
`aiohttp.web` (router, applications, file responses, web sockets) takes 10 ms and 1.3 MiB more than the server below it; the names are the public
ones of `aiohttp.web`, taken from the modules that define them (aiohttp 3.8 to 3.14), or from there should those have moved.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Any


def _trusts_nobody(*args: Any, **kwargs: Any) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


_real = ssl.create_default_context
ssl.create_default_context = _trusts_nobody
try:
    import aiohttp
finally:
    ssl.create_default_context = _real

try:
    from aiohttp.web_protocol import RequestHandler, RequestPayloadError
    from aiohttp.web_request import BaseRequest
    from aiohttp.web_response import Response, StreamResponse
    from aiohttp.web_server import Server
except ImportError:
    from aiohttp.web import BaseRequest, RequestHandler, RequestPayloadError, Response, Server, StreamResponse

__all__ = [
    "BaseRequest",
    "RequestHandler",
    "RequestPayloadError",
    "Response",
    "Server",
    "StreamResponse",
    "aiohttp",
    "free",
    "small_reads",
    "trusting",
]


@lru_cache(16)
def trusting(cafile: str | None = None, capath: str | None = None) -> ssl.SSLContext:
    """A context that trusts the system's certificates, or those given instead. Raises OSError or ssl.SSLError."""
    context = ssl.create_default_context(cafile=cafile, capath=capath)
    context.set_alpn_protocols(["http/1.1"])
    return context


#: Bytes of one read.
READ_SIZE = 65_536


def small_reads(transport: object) -> None:
    """asyncio's transport asks for 256 KiB at each read (`max_size`, where it has that), whose allocation costs 8.5 µs where 64 KiB cost nothing
    (CPython 3.11, glibc), also for the 300 bytes of a chunk."""
    if hasattr(transport, "max_size"):
        transport.max_size = READ_SIZE


def free(transport: object) -> None:
    """Let a transport whose connection is lost be freed without the garbage collector.

    asyncio's transport keeps a bound method of its own (`_read_ready_cb`). That makes it a reference cycle of seven objects, socket and
    addresses among them, and nothing calls the method once the connection is lost. Python 3.12 and later drop it themselves, and other
    transports keep none."""
    kept = getattr(transport, "__dict__", {})
    for name in [name for name, value in kept.items() if getattr(value, "__self__", None) is transport]:
        del kept[name]
