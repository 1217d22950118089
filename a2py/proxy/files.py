"""File descriptors: raise their limit, and tell how many connections fit into it.

The usual soft limit is 1,024 (macOS: 256), for the sake of programs that still use `select`. Once it is reached,
asyncio (CPython 3.11) logs a traceback for each connection that it cannot accept, up to its backlog of 1,024 at every
turn. Upstreams cannot be connected to, and modules cannot be imported.

Knows: RLIMIT_NOFILE, where there is one (POSIX). Must not know: what the descriptors are for.
"""

from __future__ import annotations

import sys

#: The limit to ask for if the system has none, and the most that macOS accepts.
MAX_FILES, MAX_FILES_MACOS = 65_536, 10_240
#: Descriptors that do not belong to a connection: standard streams, the loop, listening sockets, a log, a capture, name
#: look-ups.
OTHERS = 64
#: Descriptors per connection: its own, its upstream's, and one of another connection that is being refused.
EACH = 3


def raise_limit() -> None:
    """Raise the soft limit to the hard one, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for target in (MAX_FILES, MAX_FILES_MACOS):
        target = target if hard == resource.RLIM_INFINITY else min(target, hard)
        if soft == resource.RLIM_INFINITY or soft >= target:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            return
        except (OSError, ValueError):
            continue


def limit() -> int:
    """Return how many descriptors this process may have; 0 for any number."""
    if sys.platform == "win32":
        return 0
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if soft == resource.RLIM_INFINITY else soft


def fit_connections(count: int) -> int:
    """Return `count`, or as many connections as the limit has room for."""
    most = limit()
    return min(count, max(1, (most - OTHERS) // EACH)) if most else count
