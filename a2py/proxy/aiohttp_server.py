"""aiohttp's HTTP server, without the parts of aiohttp that this proxy does not use.

Knows: which modules of aiohttp hold the server's public names. Must not know: what is done with them.
Invariants: once this module is imported, the standard library is as it was before. No TLS context of aiohttp's is ever
used: a2py asks upstreams with a client of its own (a2py/upstream), and listeners have contexts of their own.

Why `ssl.create_default_context` is replaced during the import: `import aiohttp` imports its client, which reads the
system's 140 certificates (21 ms of CPU, 1.9 MiB; CPython 3.11, aiohttp 3.14), at each start and in each worker.

Why not `aiohttp.web`: its router, applications, file responses and web sockets take 10 ms and 1.3 MiB more than the
server below. The names are the public ones of `aiohttp.web`. They are imported from the modules that define them
(aiohttp 3.8 to 3.14), or from `aiohttp.web` if they have moved.
"""

from __future__ import annotations

import ssl
from typing import Any


def _empty_context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


_real = ssl.create_default_context
ssl.create_default_context = _empty_context
try:
    import aiohttp
    from aiohttp import StreamReader
    from aiohttp.http import HttpProcessingError
    from aiohttp.http_exceptions import LineTooLong
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
    "HttpProcessingError",
    "LineTooLong",
    "RequestHandler",
    "RequestPayloadError",
    "Response",
    "Server",
    "StreamReader",
    "StreamResponse",
    "aiohttp",
]
