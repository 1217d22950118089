"""How long a client may take: to ask, to send its body, to read its answer.

Knows: seconds. Must not know: sockets, requests.

All of these numbers are handed to what uses them (`Server`, `Connections`, `Services`), so that a test, or
`--keepalive-timeout`, can have others without changing anything for the rest of the process.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Times are in seconds."""

    #: How long a connection may be idle between two requests, or take to send its request line and headers.
    idle: float = 75.0
    #: How long the rest of a refused body is read and thrown away. If the socket were closed with unread bytes in it,
    #: the kernel would send a reset, and the client would lose the answer that explains the refusal.
    linger: float = 2.0
    #: Once a drain has begun: how long a new connection may take to ask, and how long a client that was just answered
    #: may take to ask again. A client that asks all the time hears `Connection: close` then. Without this second its
    #: next request would meet a closed connection.
    fresh: float = 1.0
    #: How long a client with a full write buffer may read nothing before its connection is aborted.
    stall: float = 300.0
    #: How long a request body may pause.
    body_pause: float = 30.0
    #: Bytes a second that a body must bring on average after `body_pause`. Otherwise a byte every 29 s would hold its
    #: connection forever.
    body_rate: int = 500
