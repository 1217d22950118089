"""Look at what the kernel has received, past asyncio's transport.

The transport reads a socket only when the event loop says that there is something, and not any more once a write has
failed. These two functions ask the kernel directly.

Knows: non-blocking sockets. Must not know: connections, HTTP.
Invariants: nothing here blocks or raises.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

from a2py.upstream.transports import READ_SIZE

#: Bytes that `read_rest` returns at most.
REST_SIZE = 512 * 1024


def is_quiet(sock: socket.socket | None) -> bool:
    """Return whether nothing has arrived, neither data nor the end of the connection, since the event loop looked last.

    MSG_PEEK leaves data where it is. True without a socket: other event loops may not show theirs."""
    if sock is None:
        return True
    try:
        sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return True
    except (OSError, ValueError):
        pass
    return False


def read_rest(sock: socket.socket | None, transport: asyncio.Transport | None) -> Iterator[bytes]:
    """Yield what arrived before a connection was lost.

    A server may answer (413, 401) and close while we are still sending the request. The next write fails, and asyncio
    then closes its transport without another read, but the kernel still has the answer. Not with TLS: here the bytes
    are encrypted."""
    if sock is None or transport is None or transport.get_extra_info("sslcontext") is not None:
        return
    budget = REST_SIZE
    try:
        while budget > 0 and (data := sock.recv(READ_SIZE)):
            budget -= len(data)
            yield data
    except (OSError, ValueError):
        pass
